//! The way to a server: a TCP connection, or a child process whose stdin and stdout are the other side.

//! The server: message in, message out.

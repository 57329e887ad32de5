//! The client: message in, message out.

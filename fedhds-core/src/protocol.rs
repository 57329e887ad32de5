//! Every byte that crosses between client and server.

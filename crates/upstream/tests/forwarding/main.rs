//! Against real servers on the loopback: good ones, and ones that misbehave to the byte.

mod failures;
mod messages;
mod streams;
mod support;
mod tls;
mod websockets;

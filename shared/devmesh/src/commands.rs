//! What a person or `make` asks for.

pub mod down;
pub mod logs;
pub mod run_with;
pub mod running;
pub mod sqlx_prepare;
pub mod status;
pub mod up;

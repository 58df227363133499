//! The checked-in code is what the `.proto` files generate.

#[path = "../../../xtask/src/codegen.rs"]
mod codegen;

#[test]
fn generated_code_is_up_to_date() {
    codegen::codegen(true).unwrap();
}

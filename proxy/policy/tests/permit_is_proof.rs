//! Nothing outside this room can make a permit.

#[test]
fn a_permit_cannot_be_forged() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}

//! A permit written out by its fields.

use hawser_policy::Permit;

fn main() {
    let _forged = Permit { decided: todo!() };
}

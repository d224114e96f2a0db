//! A permit out of nothing.

use hawser_policy::Permit;

fn main() {
    let _forged: Permit = Default::default();
}

//! A permit as if it were a value.

use hawser_policy::Permit;

fn main() {
    let _forged = Permit;
}

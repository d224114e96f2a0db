//! A permit written out.

use hawser_policy::Permit;

fn main() {
    let _forged = Permit {};
}

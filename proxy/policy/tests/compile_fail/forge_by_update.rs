//! A permit made of the parts of another.

use hawser_policy::Permit;

fn main() {}

pub fn again(permit: Permit) -> Permit {
    Permit { ..permit }
}

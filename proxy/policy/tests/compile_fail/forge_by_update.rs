//! A permit for one cluster turned into one for another.

use hawser_policy::Permit;

fn elsewhere(permit: Permit) -> Permit {
    Permit { decided: todo!(), ..permit }
}

fn main() {}

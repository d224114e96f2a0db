//! The fleet that the edge under test decides for: a thousand policies of which some concern the user who asks, as an
//! organisation of a hundred teams would have them.

use std::fmt::Write;

use anyhow::Result;

/// The user whose requests are measured.
pub(crate) const USER: &str = "bench@example.com";
/// The group through which a policy grants the user what is asked.
pub(crate) const GROUP: &str = "developers";
/// How many policies there are.
pub(crate) const POLICIES: usize = 1_000;

/// The files that `hawser apply` takes: first the groups, then the policies.
pub(crate) fn fleet(cluster: &str) -> Result<[String; 2]> {
    Ok([groups()?, policies(cluster)?])
}

fn groups() -> Result<String> {
    let mut text = String::new();
    for team in 0..TEAMS {
        let person = |number| format!("{{user: person-{team}-{number}@example.com}}");
        let mut members: Vec<String> = (0..PEOPLE_PER_TEAM).map(person).collect();
        if team < TEAMS_OF_USER {
            members.push(format!("{{user: {USER}}}"));
        }
        let members = members.join(", ");
        write!(
            text,
            "---\napiVersion: {API_VERSION}\nkind: Group\n\
             metadata: {{name: team-{team}, namespace: hawser-system}}\nspec: {{members: [{members}]}}\n"
        )?;
    }
    Ok(text)
}

fn policies(cluster: &str) -> Result<String> {
    let mut text = String::new();
    policy(&mut text, GROUP, GROUP, "selector: {}", "roles: [edit]")?;
    for number in 1..POLICIES {
        let team = number % TEAMS;
        let clusters = match number % 3 {
            0 => "selector: {}".to_owned(),
            1 => format!("names: [{cluster}]"),
            _ => format!("names: [{cluster}, elsewhere-{team}]"),
        };
        let what = match number % 10 {
            9 => format!(
                "effect: Deny, rules: [{{apiGroups: [\"\"], resources: [secrets], verbs: [delete]}}], \
                 namespaces: [team-{team}]"
            ),
            even if even % 2 == 0 => {
                format!("roles: [view], namespaces: [team-{team}, shared-{}]", number % 7)
            }
            _ => format!("roles: [edit], namespaces: [team-{team}]"),
        };
        policy(&mut text, &format!("policy-{number}"), &format!("team-{team}"), &clusters, &what)?;
    }
    Ok(text)
}

fn policy(text: &mut String, name: &str, group: &str, clusters: &str, what: &str) -> std::fmt::Result {
    writeln!(
        text,
        "---\napiVersion: {API_VERSION}\nkind: AccessPolicy\n\
         metadata: {{name: {name}, namespace: hawser-system}}\n\
         spec: {{subjects: {{groups: [{group}]}}, clusters: {{{clusters}}}, {what}}}"
    )
}

const API_VERSION: &str = "access.hawser.dev/v1";
const TEAMS: usize = 100;
const PEOPLE_PER_TEAM: usize = 10;
/// So the user is concerned by a tenth of the policies.
const TEAMS_OF_USER: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_policies_as_said() {
        let [groups, policies] = fleet("demo").unwrap();
        assert_eq!(policies.matches("kind: AccessPolicy").count(), POLICIES);
        assert_eq!(groups.matches(USER).count(), TEAMS_OF_USER);
    }
}

use std::{
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use hawser_policy::resources::ClusterSpec;
use hawser_store::Options as StoreOptions;
use serde_json::Value;

use super::*;
use crate::cli;

const NOW: &str = "2026-11-01T00:00:00.25Z";

fn edge(dir: &tempfile::TempDir, advertise: Option<&str>) -> Edge<Box<Authorities>> {
    let now = NOW.parse().unwrap();
    Edge {
        store: Store::open(&dir.path().join("store.db"), StoreOptions::default()).unwrap(),
        authorities: Box::new(Authorities::load_or_create(&dir.path().join("keys"), now).unwrap()),
        settings: Settings {
            pid: 1,
            port: 8443,
            advertise: advertise.map(str::to_owned),
            health: SocketAddr::from(([127, 0, 0, 1], 9464)),
        },
    }
}

fn options() -> Options {
    Options {
        user: "ana@example.com".to_owned(),
        data: cli::Data { data_dir: PathBuf::from("unused") },
        group: Vec::new(),
        cluster: Vec::new(),
        expires: Duration::from_secs(3600),
        token: false,
        output: None,
        format: Format::Text,
        local: false,
    }
}

async fn make<A: std::ops::Deref<Target = Authorities>>(
    edge: &Edge<A>,
    options: &Options,
) -> (Value, String, Vec<String>) {
    let made = edge.make(options, NOW.parse().unwrap()).await.unwrap();
    (serde_saphyr::from_str(&made.text).unwrap(), made.credential.id, made.notes)
}

async fn import(store: &Store, names: &[&str]) {
    for name in names {
        hawser_edge::ensure_cluster(store, name).await.unwrap();
    }
}

async fn credential(store: &Store, id: &str) -> CredentialSpec {
    let stored = objects::find(store, &Key::new("Credential", "", id)).await.unwrap().unwrap();
    let Object::Credential(credential) = objects::typed(stored).unwrap() else { panic!("a credential") };
    credential.spec
}

#[tokio::test]
async fn a_certificate_for_all_clusters() {
    let dir = tempfile::tempdir().unwrap();
    let edge = edge(&dir, Some("edge.example.com"));
    import(&edge.store, &["a", "b"]).await;
    let (file, id, notes) = make(&edge, &options()).await;
    assert_eq!(file["current-context"], "a");
    assert_eq!(file["clusters"][1]["cluster"]["server"], "https://b.edge.example.com:8443");
    assert_eq!(file["contexts"][1]["context"]["user"], "ana@example.com");
    assert!(file["users"][0]["user"]["client-certificate-data"].is_string());
    assert!(notes[0].contains("no policy grants ana@example.com"), "{notes:?}");
    let spec = credential(&edge.store, &id).await;
    assert_eq!(
        spec,
        CredentialSpec {
            user: "ana@example.com".to_owned(),
            clusters: None,
            expires: Some("2026-11-01T01:00:00Z".parse().unwrap()),
            token_sha256: None,
        }
    );
    assert!(objects::find(&edge.store, &Key::new("User", "", "ana@example.com")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_token_for_one_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let edge = edge(&dir, None);
    import(&edge.store, &["a", "b"]).await;
    let wanted = Options { token: true, cluster: vec!["b".to_owned()], ..options() };
    let (file, id, _) = make(&edge, &wanted).await;
    assert_eq!(file["contexts"].as_array().unwrap().len(), 1);
    assert!(file["clusters"][0]["cluster"]["server"].as_str().unwrap().starts_with("https://127.77."));
    let spec = credential(&edge.store, &id).await;
    assert_eq!(spec.clusters, Some(vec!["b".to_owned()]));
    let text = file["users"][0]["user"]["token"].as_str().unwrap();
    assert_eq!(spec.token_sha256, Some(token::hex(&token::sha256(text))));
}

#[tokio::test]
async fn an_advertised_address_warns_where_urls_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let edge = edge(&dir, Some("192.0.2.7"));
    import(&edge.store, &["a", "b"]).await;
    let (file, _, notes) = make(&edge, &options()).await;
    assert_eq!(file["clusters"][1]["cluster"]["server"], "https://192.0.2.7:8443");
    assert_eq!(file["clusters"][1]["cluster"]["tls-server-name"], "b.hawser.internal");
    assert!(notes[0].contains("the same URL"), "{notes:?}");
    for quiet in
        [Options { cluster: vec!["a".to_owned()], ..options() }, Options { local: true, ..options() }]
    {
        let (_, _, notes) = make(&edge, &quiet).await;
        assert!(!notes[0].contains("the same URL"), "{notes:?}");
    }
}

#[tokio::test]
async fn groups_are_joined_and_give_the_namespace() {
    let dir = tempfile::tempdir().unwrap();
    let edge = edge(&dir, None);
    import(&edge.store, &["a"]).await;
    let policy = "{apiVersion: access.hawser.dev/v1, kind: AccessPolicy, metadata: {name: p}, spec: {subjects: \
                  {groups: [devs]}, clusters: {names: [a]}, roles: [edit], namespaces: [pay]}}";
    let policy = hawser_policy::resources::parse_yaml(policy, "test").unwrap().remove(0);
    edge.store.create(policy.to_value()).await.unwrap();
    let devs = GroupSpec { members: vec![Member { user: "ben".to_owned() }] };
    edge.store.create(Object::Group(Group::in_system("devs", devs)).to_value()).await.unwrap();
    let groups = ["devs", "hawser-system/new", "new"].map(str::to_owned).to_vec();
    let (file, ..) = make(&edge, &Options { group: groups.clone(), ..options() }).await;
    let (_, _, notes) = make(&edge, &Options { group: groups, ..options() }).await;
    assert_eq!(file["contexts"][0]["context"]["namespace"], "pay");
    assert!(notes.is_empty(), "{notes:?}");
    let members = |group: &Object| {
        let Object::Group(group) = group else { panic!("a group") };
        group.spec.members.iter().map(|member| member.user.clone()).collect::<Vec<_>>().join(" ")
    };
    let groups = objects::list(&edge.store, "Group").await.unwrap();
    assert_eq!(groups.iter().map(members).collect::<Vec<_>>(), ["ben ana@example.com", "ana@example.com"]);
}

#[tokio::test]
async fn many_join_one_group_at_the_same_time() {
    let dir = tempfile::tempdir().unwrap();
    let edge = edge(&dir, None);
    import(&edge.store, &["a"]).await;
    let made = (0..8).map(async |number| {
        let joining = Options {
            user: format!("user{number}"),
            group: vec!["devs".to_owned()],
            token: true,
            ..options()
        };
        make(&edge, &joining).await
    });
    futures_util::future::join_all(made).await;
    let Object::Group(group) = objects::list(&edge.store, "Group").await.unwrap().remove(0) else {
        panic!("a group")
    };
    assert_eq!(group.spec.members.len(), 8);
}

#[tokio::test]
async fn what_cannot_be_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let edge = edge(&dir, None);
    let refused = async |options: Options| {
        let before = edge.store.revision().await.unwrap();
        let error = edge.make(&options, NOW.parse().unwrap()).await.err().unwrap().to_string();
        assert_eq!(edge.store.revision().await.unwrap(), before, "{error}");
        error
    };
    assert!(refused(options()).await.contains("hawser import"));
    import(&edge.store, &["a", "b"]).await;
    let unknown = Options { cluster: vec!["c".to_owned()], ..options() };
    assert_eq!(refused(unknown).await, "there is no cluster c; there are a, b");
    let system = Options { user: "system:admin".to_owned(), ..options() };
    assert!(refused(system).await.starts_with("User: metadata.name: "));
    let bad = Options { group: vec!["Devs!".to_owned()], ..options() };
    assert!(refused(bad).await.starts_with("Group: metadata.name: "));
    for (expires, token) in [(Duration::ZERO, false), (Duration::MAX, false), (Duration::MAX, true)] {
        refused(Options { group: vec!["devs".to_owned()], expires, token, ..options() }).await;
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_written_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::create(dir.path()).unwrap();
    let Edge { store, settings, .. } = edge(&dir, None);
    data.write_settings(&settings).unwrap();
    import(&store, &["a"]).await;
    let before = store.revision().await.unwrap();
    let write = async |output: PathBuf| {
        let data = cli::Data { data_dir: dir.path().to_owned() };
        run(Options { data, output: Some(output), group: vec!["devs".to_owned()], ..options() }).await
    };
    for cannot in ["no/such/folder", "keys", ".."] {
        let error = format!("{:#}", write(dir.path().join(cannot)).await.unwrap_err());
        assert!(error.contains(cannot), "{error}");
        assert_eq!(store.revision().await.unwrap(), before, "{error}");
    }
    write(dir.path().join("kubeconfig")).await.unwrap();
    assert!(store.revision().await.unwrap() > before);
}

#[test]
fn a_script_learns_which_credential_it_is() {
    let expires = "2026-11-01T01:00:00Z".parse().unwrap();
    let made = MadeCredential { id: "c-1".to_owned(), user: "ana".to_owned(), expires };
    assert_eq!(made.to_string(), "credential c-1, good until 2026-11-01T01:00:00Z");
    let written = serde_json::to_value(Written { made: &made, file: "f".to_owned() }).unwrap();
    let wanted = serde_json::json!({
        "credential": "c-1", "user": "ana", "expires": "2026-11-01T01:00:00Z", "file": "f",
    });
    assert_eq!(written, wanted);
}

#[test]
fn contexts_have_names_of_their_own() {
    let cluster = |name: &str, context: Option<&str>| {
        Cluster::named(
            name,
            ClusterSpec { context_name: context.map(str::to_owned), ..ClusterSpec::default() },
        )
    };
    let names = |clusters: &[Cluster]| context_names(clusters).join(" ");
    assert_eq!(names(&[cluster("a", Some("Alpha")), cluster("b", None)]), "Alpha b");
    assert_eq!(names(&[cluster("a", Some("x")), cluster("b", Some("x"))]), "a b");
    assert_eq!(names(&[cluster("a", Some("b")), cluster("b", None), cluster("c", Some("a"))]), "a b c");
    assert_eq!(names(&[cluster("a", Some("a"))]), "a");
}

#[test]
fn the_file_is_private_and_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubeconfig");
    std::fs::write(&path, "old").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let write = |path| PrivateFile::create(path).and_then(|file| file.write("new"));
    write(&path).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let folder = dir.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("x"), "").unwrap();
    assert!(write(&folder).is_err());
    assert!(PrivateFile::create(Path::new("/dev/null")).is_err());
    drop(PrivateFile::create(&path).unwrap());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left behind");
}

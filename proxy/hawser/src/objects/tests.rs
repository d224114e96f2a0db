use hawser_policy::resources::parse_yaml;
use hawser_store::Options;

use super::*;

fn store(dir: &tempfile::TempDir) -> Store {
    Store::open(&dir.path().join("store.db"), Options::default()).unwrap()
}

fn objects(text: &str) -> Vec<Object> {
    parse_yaml(text, "test").unwrap()
}

async fn applied(store: &Store, text: &str) -> Vec<String> {
    apply_all(store, &objects(text))
        .await
        .unwrap()
        .iter()
        .map(|it| format!("{}/{} {}", it.kind, it.name, it.result.as_str()))
        .collect()
}

#[test]
fn what_was_done_is_told_to_people_and_scripts() {
    let done = Done { kind: "Group", name: "sre".to_owned(), result: Outcome::Deleted };
    assert_eq!(done.to_string(), "group/sre deleted");
    let wanted = json!({"kind": "Group", "name": "sre", "result": "deleted"});
    assert_eq!(serde_json::to_value(&done).unwrap(), wanted);
}

const GROUP: &str = "{apiVersion: access.hawser.dev/v1, kind: Group, metadata: {name: sre}, \
                     spec: {members: [{user: ana}]}}";
const CLUSTER: &str = "{apiVersion: access.hawser.dev/v1, kind: Cluster, metadata: {name: prod}}";

#[tokio::test]
async fn apply_says_what_it_did() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    assert_eq!(applied(&store, GROUP).await, ["Group/sre created"]);
    assert_eq!(applied(&store, GROUP).await, ["Group/sre unchanged"]);
    let changed = GROUP.replace("ana", "ben");
    assert_eq!(
        applied(&store, &format!("{changed}\n---\n{CLUSTER}")).await,
        ["Group/sre configured", "Cluster/prod created"]
    );
    let Object::Group(group) = &list(&store, "Group").await.unwrap()[0] else { panic!("a group") };
    assert_eq!(group.spec.members.len(), 1, "the members are those of the file");
}

#[tokio::test]
async fn a_file_neither_gives_nor_takes_a_clusters_address() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let address = async || {
        let stored = find(&store, &Key::new("Cluster", "", "prod")).await.unwrap().unwrap();
        stored.value["metadata"]["annotations"][LOOPBACK_ANNOTATION].as_str().unwrap().to_owned()
    };
    applied(&store, CLUSTER).await;
    let first = address().await;
    let other =
        CLUSTER.replace("name: prod", "name: prod, annotations: {hawser.dev/loopback: 127.0.0.1, note: x}");
    assert_eq!(applied(&store, &other).await, ["Cluster/prod configured"]);
    assert_eq!(address().await, first);
    assert_eq!(applied(&store, CLUSTER).await, ["Cluster/prod configured"]);
    assert_eq!(address().await, first);
    assert_eq!(applied(&store, CLUSTER).await, ["Cluster/prod unchanged"]);
}

#[tokio::test]
async fn a_file_is_applied_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let stale = GROUP.replace("name: sre", "name: sre, resourceVersion: '999'");
    let error = apply_all(&store, &objects(&format!("{CLUSTER}\n---\n{stale}"))).await.unwrap_err();
    assert!(error.to_string().starts_with("Group hawser-system/sre is at resourceVersion 0"), "{error}");
    assert_eq!(store.revision().await.unwrap(), 0, "neither the cluster nor an address for it");
}

#[tokio::test]
async fn a_cluster_is_made_once_and_then_found() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let made = hawser_edge::ensure_cluster(&store, "prod").await.unwrap();
    let found = hawser_edge::ensure_cluster(&store, "prod").await.unwrap();
    assert_eq!((&made.key, made.revision, &made.value), (&found.key, found.revision, &found.value));
    assert_eq!(made.key, Key::new("Cluster", "", "prod"));
    assert!(made.value["metadata"]["annotations"][LOOPBACK_ANNOTATION].is_string());
}

#[tokio::test]
async fn clusters_of_one_file_have_addresses_of_their_own() {
    const MANY: usize = 3000;
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let many: String = (0..MANY)
        .map(|number| format!("{}\n---\n", CLUSTER.replace("prod", &format!("c{number}"))))
        .collect();
    assert_eq!(applied(&store, &many).await.len(), MANY);
    let clusters = values(&store, "Cluster").await.unwrap();
    let address = |it: &hawser_store::Object| {
        it.value["metadata"]["annotations"][LOOPBACK_ANNOTATION].as_str().unwrap().to_owned()
    };
    assert_eq!(clusters.iter().map(address).collect::<HashSet<_>>().len(), MANY);
}

#[tokio::test]
async fn only_what_was_applied_is_warned_about() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let policy = |name: &str, group: &str| {
        format!(
            "{{apiVersion: access.hawser.dev/v1, kind: AccessPolicy, metadata: {{name: {name}}}, \
             spec: {{subjects: {{groups: [{group}]}}, clusters: {{selector: {{}}}}, roles: [view]}}}}"
        )
    };
    applied(&store, &format!("{CLUSTER}\n---\n{}", policy("old", "gone"))).await;
    let new = objects(&policy("new", "devs"));
    apply_all(&store, &new).await.unwrap();
    assert_eq!(
        warnings(&store, &new).await.unwrap(),
        ["AccessPolicy hawser-system/new: there is no group devs"]
    );
}

#[tokio::test]
async fn get_shows_one_or_a_list() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    applied(&store, GROUP).await;
    let found = values(&store, "Group").await.unwrap();
    assert_eq!(whole(true, found.clone())["metadata"]["name"], "sre");
    let list = whole(false, found);
    assert_eq!((&list["kind"], list["items"].as_array().unwrap().len()), (&json!("List"), 1));
    assert_eq!(whole(false, Vec::new())["items"], json!([]));
    let text = serde_saphyr::to_string(&list).unwrap();
    assert_eq!(serde_saphyr::from_str::<Value>(&text).unwrap(), list);
}

#[tokio::test]
async fn what_get_prints_as_yaml_can_be_applied() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let users = [
        "y",
        "no",
        "1e5",
        "0x10",
        "null",
        "~",
        "12:30:45",
        "a: b",
        "#x",
        "-",
        "'",
        "\"",
        "\\",
        "é",
        "2026-01-01",
    ];
    let members: Vec<Value> = users.iter().map(|user| json!({"user": user})).collect();
    let group = json!({
        "apiVersion": "access.hawser.dev/v1", "kind": "Group", "metadata": {"name": "all"}, "spec": {"members": members},
    });
    store.create(Object::from_value(group).unwrap().to_value()).await.unwrap();
    let stored = values(&store, "Group").await.unwrap();
    let text = serde_saphyr::to_string(&whole(true, stored)).unwrap();
    assert_eq!(applied(&store, &text).await, ["Group/all unchanged"], "{text}");
}

#[tokio::test]
async fn what_get_prints_of_several_can_be_applied() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let ben = GROUP.replace("sre", "ops").replace("ana", "ben");
    applied(&store, &format!("{GROUP}\n---\n{ben}\n---\n{CLUSTER}")).await;
    for (kind, lines) in [
        ("Group", vec!["Group/ops unchanged", "Group/sre unchanged"]),
        ("Cluster", vec!["Cluster/prod unchanged"]),
    ] {
        let list = whole(false, values(&store, kind).await.unwrap());
        let texts = [serde_saphyr::to_string(&list).unwrap(), serde_json::to_string_pretty(&list).unwrap()];
        for text in texts {
            assert_eq!(applied(&store, &text).await, lines, "{text}");
        }
    }
}

#[tokio::test]
async fn nothing_of_a_deleted_cluster_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    applied(&store, &format!("{CLUSTER}\n---\n{}", CLUSTER.replace("prod", "other"))).await;
    let record = |kind: &str, name: &str, spec: Value| {
        Change::Create(json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "spec": spec}))
    };
    let records = vec![
        record("ClusterPin", "prod", json!({})),
        record("ClusterPin", "other", json!({})),
        record("JoinToken", "of-prod", json!({"pattern": "prod"})),
        record("JoinToken", "of-many", json!({"pattern": "pro*"})),
    ];
    store.transact(records).await.unwrap();
    let data = crate::cli::Data { data_dir: dir.path().to_owned() };
    let output = Format::Text;
    delete(Delete { kind: "cluster".to_owned(), name: "prod".to_owned(), data, output }).await.unwrap();
    let mut left = Vec::new();
    for kind in ["Cluster", "ClusterPin", "JoinToken"] {
        left.extend(values(&store, kind).await.unwrap().into_iter().map(|it| it.key.to_string()));
    }
    assert_eq!(left, ["Cluster other", "ClusterPin other", "JoinToken of-many"]);
    let addresses = values(&store, "LoopbackAddress").await.unwrap();
    assert_eq!(addresses.iter().map(|it| &it.value["spec"]["cluster"]).collect::<Vec<_>>(), ["other"]);
}

#[test]
fn files_are_judged_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f.yaml");
    let judge = |text: &str| {
        std::fs::write(&path, text).unwrap();
        read(&path)
    };
    assert_eq!(judge(GROUP).unwrap().unwrap().len(), 1);
    let faults = judge("kind: Group\nspec: {until: x}\n").unwrap().unwrap_err();
    assert!(faults.len() >= 3, "{faults:?}");
    let verdict = verdict(&Err(faults.clone()));
    assert_eq!(verdict["valid"], false);
    assert_eq!(verdict["faults"].as_array().unwrap().len(), faults.len());
    assert!(judge("# nothing\n").unwrap_err().to_string().contains("holds no object; write"));
    std::fs::write(&path, [0xff, 0xfe, b'x']).unwrap();
    assert!(read(&path).unwrap_err().to_string().ends_with("is not UTF-8 text"));
    assert!(read(&dir.path().join("absent")).unwrap_err().to_string().starts_with("cannot open"));
}

#[test]
fn a_file_may_be_as_large_as_the_bound() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f.yaml");
    let size = usize::try_from(FILE_BYTES_MAX).unwrap();
    let mut text = format!("{GROUP}\n#");
    text.extend(std::iter::repeat_n('x', size - text.len()));
    std::fs::write(&path, &text).unwrap();
    assert!(read(&path).unwrap().is_ok());
    text.push('x');
    std::fs::write(&path, &text).unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("larger than 67108864 bytes"));
}

#[tokio::test]
async fn deleting_what_is_not_there_fails() {
    let dir = tempfile::tempdir().unwrap();
    drop(store(&dir));
    let data = crate::cli::Data { data_dir: dir.path().to_owned() };
    let options = Delete { kind: "users".to_owned(), name: "ana".to_owned(), data, output: Format::Json };
    assert_eq!(
        delete(options).await.unwrap_err().to_string(),
        "there is no User ana; `hawser get users` shows those there are"
    );
}

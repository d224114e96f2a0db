//! The kinds and their fields as a list, for generated documentation.

use super::schema::{Field, Form, KINDS, METADATA, Shape};

/// One field of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldReference {
    /// Kind, such as `AccessPolicy`.
    pub kind: &'static str,
    /// Path, such as `spec.rules[].verbs`.
    pub path: String,
    /// What it holds, such as `list of texts`.
    pub holds: &'static str,
    /// It must be written.
    pub required: bool,
    /// False for what this version refuses and a later one will enforce.
    pub enforced: bool,
    /// One sentence; empty for what is not enforced.
    pub about: &'static str,
}

/// Every field of every kind, in the order of the schema.
#[must_use]
pub fn reference() -> Vec<FieldReference> {
    let mut list = Vec::new();
    for kind in &KINDS {
        list_shape(kind.name, "metadata", &METADATA, &mut list);
        list_shape(kind.name, "spec", &kind.spec, &mut list);
    }
    list
}

fn list_shape(kind: &'static str, path: &str, shape: &Shape, list: &mut Vec<FieldReference>) {
    for field in shape.fields {
        let path = format!("{path}.{}", field.name);
        list.push(FieldReference {
            kind,
            path: path.clone(),
            holds: holds(field),
            required: field.required,
            enforced: !matches!(field.form, Form::Later),
            about: field.about,
        });
        match &field.form {
            Form::Map(inner) => list_shape(kind, &path, inner, list),
            Form::Maps(inner) => list_shape(kind, &format!("{path}[]"), inner, list),
            Form::Text(_)
            | Form::Hidden(_)
            | Form::Flag
            | Form::Count
            | Form::Choice(_)
            | Form::Texts(_)
            | Form::SomeTexts(_)
            | Form::Labels(_)
            | Form::Free
            | Form::Later => {}
        }
    }
}

fn holds(field: &Field) -> &'static str {
    match field.form {
        Form::Text(_) | Form::Hidden(_) | Form::Choice(_) => "text",
        Form::Flag => "true or false",
        Form::Count => "whole number",
        Form::Texts(_) | Form::SomeTexts(_) => "list of texts",
        Form::Labels(_) => "map of texts",
        Form::Map(_) => "map",
        Form::Maps(_) => "list of maps",
        Form::Free => "anything",
        Form::Later => "",
    }
}

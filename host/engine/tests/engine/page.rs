//! The reference of the plugin interfaces in the documents, made from `wit/plugin.wit`: what stands there is what a plugin
//! gets.

use std::fmt::Write as _;

use wit_parser::{
    Docs, Function, FunctionKind, Handle, Interface, Resolve, Stability, Type, TypeDef, TypeDefKind,
    TypeOwner, World, WorldItem,
};

use crate::support::root;
use crate::wit::package;

#[test]
fn the_reference_is_made_from_the_package() {
    let path = root().join("docs/src/plugins/wit.md");
    let page = page();
    if std::env::var_os("CAPSTAN_UPDATE_WIT_PAGE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let reviewed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        page == reviewed,
        "wit/plugin.wit differs from docs/src/plugins/wit.md; run this test with CAPSTAN_UPDATE_WIT_PAGE=1"
    );
}

fn page() -> String {
    let (resolve, id) = package();
    let package = &resolve.packages[id];
    let mut out = format!(
        "# Interfaces\n\n<!-- Made from wit/plugin.wit by a test of host/engine. Do not edit. -->\n\nThe package `{}`, \
         from `wit/plugin.wit`. What says *since* came with that version, the rest with 0.1.0; [Versions](versions.md) \
         has the rule. What an SDK makes of it is named after the ways of its language.\n",
        package.name
    );
    let _ = write!(out, "\n## Worlds\n\nEach kind of plugin has one.\n\n");
    let _ = writeln!(out, "| world | imports | exports |\n|---|---|---|");
    for &world in package.worlds.values() {
        let _ = writeln!(out, "{}", row(&resolve, &resolve.worlds[world]));
    }
    for &id in package.interfaces.values() {
        section(&mut out, &resolve, &resolve.interfaces[id]);
    }
    out
}

fn row(resolve: &Resolve, world: &World) -> String {
    let names = |items: &mut dyn Iterator<Item = &WorldItem>| {
        let links: Vec<_> = items
            .filter_map(|item| match item {
                WorldItem::Interface { id, .. } => resolve.interfaces[*id].name.as_deref(),
                _ => None,
            })
            .map(|name| format!("[`{name}`](#{name})"))
            .collect();
        links.join(", ")
    };
    let (imports, exports) = (
        names(&mut world.imports.values()),
        names(&mut world.exports.values()),
    );
    format!(
        "| `{}`{}<br>{} | {imports} | {exports} |",
        world.name,
        since(&world.stability),
        prose(&world.docs)
    )
}

fn section(out: &mut String, resolve: &Resolve, interface: &Interface) {
    let name = interface.name.as_deref().unwrap_or_default();
    let _ = write!(
        out,
        "\n## {name}\n\n{}{}\n",
        prose(&interface.docs),
        since(&interface.stability)
    );
    for (name, id) in &interface.types {
        let kind = &resolve.types[*id];
        // A name for another interface's type says nothing new.
        if !matches!(kind.kind, TypeDefKind::Type(Type::Id(_))) {
            named_type(out, resolve, name, kind);
        }
    }
    let functions = interface.functions.values();
    let free: Vec<_> = functions.filter(|f| f.kind.resource().is_none()).collect();
    if !free.is_empty() {
        let _ = write!(out, "\n**Functions**\n\n");
    }
    for function in free {
        let _ = writeln!(out, "{}", signature(resolve, function));
    }
}

fn named_type(out: &mut String, resolve: &Resolve, name: &str, kind: &TypeDef) {
    let text = |ty: &Type| written(resolve, ty);
    let member = |name: &str, ty: Option<String>, docs: &Docs| {
        let ty = ty.map(|ty| format!(": `{ty}`")).unwrap_or_default();
        let docs = prose(docs);
        let dash = if docs.is_empty() { "" } else { " · " };
        format!("- `{name}`{ty}{dash}{docs}\n")
    };
    let mut members = String::new();
    let what = match &kind.kind {
        TypeDefKind::Record(record) => {
            members.extend(
                record
                    .fields
                    .iter()
                    .map(|f| member(&f.name, Some(text(&f.ty)), &f.docs)),
            );
            "record"
        }
        TypeDefKind::Variant(variant) => {
            members.extend(
                variant
                    .cases
                    .iter()
                    .map(|c| member(&c.name, c.ty.as_ref().map(text), &c.docs)),
            );
            "variant"
        }
        TypeDefKind::Enum(cases) => {
            members.extend(
                cases
                    .cases
                    .iter()
                    .map(|case| member(&case.name, None, &case.docs)),
            );
            "enum"
        }
        TypeDefKind::Resource => {
            members.extend(functions_of(resolve, kind).map(|function| signature(resolve, function) + "\n"));
            "resource"
        }
        TypeDefKind::Type(ty) => {
            members = member(&text(ty), None, &Docs::default());
            "type"
        }
        other => panic!("the page has no words for a {}", other.as_str()),
    };
    let docs = prose(&kind.docs);
    let colon = if docs.is_empty() { "" } else { ": " };
    let _ = write!(
        out,
        "\n**{what} `{name}`**{colon}{docs}{}\n\n{members}",
        since(&kind.stability)
    );
}

/// The functions of a resource.
fn functions_of<'a>(resolve: &'a Resolve, resource: &'a TypeDef) -> impl Iterator<Item = &'a Function> {
    let owner = match resource.owner {
        TypeOwner::Interface(id) => Some(&resolve.interfaces[id]),
        _ => None,
    };
    let of = |function: &Function| function.kind.resource().map(|id| &resolve.types[id].name);
    let all = owner
        .into_iter()
        .flat_map(|interface| interface.functions.values());
    all.filter(move |function| of(function) == Some(&resource.name))
}

fn signature(resolve: &Resolve, function: &Function) -> String {
    let own = |kind: &FunctionKind| matches!(kind, FunctionKind::Method(_) | FunctionKind::AsyncMethod(_));
    let skip = usize::from(own(&function.kind));
    let params = function.params.iter().skip(skip);
    let params: Vec<_> = params
        .map(|param| format!("{}: {}", param.name, written(resolve, &param.ty)))
        .collect();
    let name = match function.kind {
        FunctionKind::Constructor(_) => "constructor",
        _ => function.item_name(),
    };
    let result = match (&function.kind, &function.result) {
        (FunctionKind::Constructor(_), _) | (_, None) => String::new(),
        (_, Some(ty)) => format!(" -> {}", written(resolve, ty)),
    };
    let docs = prose(&function.docs);
    let dash = if docs.is_empty() { "" } else { " · " };
    let since = since(&function.stability);
    format!("- `{name}({}){result}`{dash}{docs}{since}", params.join(", "))
}

fn written(resolve: &Resolve, ty: &Type) -> String {
    let Type::Id(id) = ty else {
        return format!("{ty:?}").to_lowercase();
    };
    let def = &resolve.types[*id];
    if let Some(name) = &def.name {
        return name.clone();
    }
    let text = |ty: &Type| written(resolve, ty);
    let maybe = |ty: &Option<Type>| ty.as_ref().map_or_else(|| "_".to_owned(), &text);
    match &def.kind {
        TypeDefKind::Option(ty) => format!("option<{}>", text(ty)),
        TypeDefKind::List(ty) => format!("list<{}>", text(ty)),
        TypeDefKind::Result(result) => format!("result<{}, {}>", maybe(&result.ok), maybe(&result.err)),
        TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{}>", text(&Type::Id(*id))),
        TypeDefKind::Handle(Handle::Own(id)) => text(&Type::Id(*id)),
        other => panic!("the page has no words for a {}", other.as_str()),
    }
}

fn prose(docs: &Docs) -> String {
    let text = docs.contents.as_deref().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn since(stability: &Stability) -> String {
    match stability {
        Stability::Stable { since, .. } => format!(" *Since {since}.*"),
        _ => String::new(),
    }
}

//! Every name a source file uses, with imports resolved to what they stand for.
//!
//! This is no name resolution as the compiler does it: it follows `use` items of
//! the same file and knows which modules the file declares. That is enough to
//! tell a crate from a module, which is all the directions ask.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::Visit;
use syn::{Attribute, Item, ItemExternCrate, ItemMod, ItemUse, Macro, Path, UseTree, visit};

/// Types with functions of their own, as in `u64::from`.
const PRIMITIVES: [&str; 17] = [
    "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "str", "u8", "u16",
    "u32", "u64", "u128", "usize",
];

/// A path as the file writes it, and as its imports make it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Name {
    segments: Vec<String>,
    is_external: bool,
}

impl Name {
    /// The path's parts.
    pub(super) fn segments(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    /// Whether it surely begins with the name of a crate.
    pub(super) fn is_external(&self) -> bool {
        self.is_external
    }

    /// The path as people write it.
    pub(super) fn shown(&self) -> String {
        self.segments.join("::")
    }
}

/// The names used outside of test code.
pub(super) fn names_used(code: &str) -> syn::Result<BTreeSet<Name>> {
    let file = syn::parse_file(code)?;
    let mut imports = Imports::default();
    imports.visit_file(&file);
    let mut uses = Uses {
        imports: &imports,
        names: BTreeSet::new(),
    };
    uses.visit_file(&file);
    Ok(uses.names)
}

/// The modules that the file declares for tests only and keeps in other files.
pub(super) fn test_only_declarations(code: &str) -> syn::Result<Vec<String>> {
    let file = syn::parse_file(code)?;
    let declared = file.items.iter().filter_map(|item| match item {
        Item::Mod(module) if module.content.is_none() && is_test_only(&module.attrs) => {
            Some(module.ident.to_string())
        }
        _ => None,
    });
    Ok(declared.collect())
}

/// What the file's `use` items bring in, and which modules it declares.
#[derive(Default)]
struct Imports {
    paths: Vec<Vec<String>>,
    bound: BTreeMap<String, Vec<String>>,
    modules: BTreeSet<String>,
}

impl<'ast> Visit<'ast> for Imports {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add(&item.tree, Vec::new());
    }

    fn visit_item_extern_crate(&mut self, item: &'ast ItemExternCrate) {
        self.paths.push(vec![item.ident.to_string()]);
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if is_test_only(&item.attrs) {
            return;
        }
        self.modules.insert(item.ident.to_string());
        visit::visit_item_mod(self, item);
    }
}

impl Imports {
    fn add(&mut self, tree: &UseTree, prefix: Vec<String>) {
        let extended = |ident: &syn::Ident| {
            let mut path = prefix.clone();
            path.push(ident.to_string());
            path
        };
        match tree {
            UseTree::Path(tree) => self.add(&tree.tree, extended(&tree.ident)),
            UseTree::Name(tree) if tree.ident == "self" => {
                self.bind(prefix.last().cloned(), prefix)
            }
            UseTree::Name(tree) => self.bind(Some(tree.ident.to_string()), extended(&tree.ident)),
            UseTree::Rename(tree) if tree.ident == "self" => {
                self.bind(Some(tree.rename.to_string()), prefix);
            }
            UseTree::Rename(tree) => {
                self.bind(Some(tree.rename.to_string()), extended(&tree.ident));
            }
            UseTree::Glob(_) => self.bind(None, prefix),
            UseTree::Group(tree) => {
                tree.items
                    .iter()
                    .for_each(|item| self.add(item, prefix.clone()));
            }
        }
    }

    fn bind(&mut self, name: Option<String>, path: Vec<String>) {
        if let Some(name) = name {
            self.bound.insert(name, path.clone());
        }
        self.paths.push(path);
    }

    /// A `use` path begins with a crate unless it begins with a keyword or with
    /// something this file declares or imports.
    fn is_external(&self, path: &[String]) -> bool {
        path.first().is_some_and(|first| {
            !["crate", "self", "super", "Self"].contains(&first.as_str())
                && !self.modules.contains(first)
                && !PRIMITIVES.contains(&first.as_str())
                // A type or variant, as in `use Color::Red`.
                && !first.starts_with(char::is_uppercase)
                && self.bound.get(first).is_none_or(|bound| bound.as_slice() == [first.clone()])
        })
    }
}

struct Uses<'a> {
    imports: &'a Imports,
    names: BTreeSet<Name>,
}

impl Uses<'_> {
    fn add(&mut self, segments: Vec<String>) {
        // An imported first part stands for what it was imported from.
        let expanded = match segments
            .first()
            .and_then(|first| self.imports.bound.get(first))
        {
            Some(bound) if bound.as_slice() != [segments[0].clone()] => {
                bound.iter().chain(&segments[1..]).cloned().collect()
            }
            _ => segments,
        };
        let is_external = self.imports.is_external(&expanded);
        self.names.insert(Name {
            segments: expanded,
            is_external,
        });
    }

    /// A path of one part is a local name, or an import that is listed anyway.
    fn add_path(&mut self, path: &Path) {
        let segments: Vec<String> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        if segments.len() > 1 {
            self.add(segments);
        }
    }
}

impl<'ast> Visit<'ast> for Uses<'_> {
    fn visit_file(&mut self, file: &'ast syn::File) {
        for path in &self.imports.paths {
            let is_external = self.imports.is_external(path);
            self.names.insert(Name {
                segments: path.clone(),
                is_external,
            });
        }
        visit::visit_file(self, file);
    }

    fn visit_item_use(&mut self, _: &'ast ItemUse) {}

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !is_test_only(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        self.add_path(path);
        visit::visit_path(self, path);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if attribute.path().is_ident("derive") {
            let _ = attribute.parse_nested_meta(|meta| {
                self.add_path(&meta.path);
                Ok(())
            });
        }
        visit::visit_attribute(self, attribute);
    }

    fn visit_macro(&mut self, item: &'ast Macro) {
        // The arguments of the usual macros are expressions; others stay unread.
        let parser = syn::punctuated::Punctuated::<syn::Expr, syn::Token![,]>::parse_terminated;
        if let Ok(arguments) = item.parse_body_with(parser) {
            // Parsed on the fly, so visited with a shorter life than the file's.
            let mut nested = Uses {
                imports: self.imports,
                names: BTreeSet::new(),
            };
            arguments
                .iter()
                .for_each(|argument| nested.visit_expr(argument));
            self.names.append(&mut nested.names);
        }
        visit::visit_macro(self, item);
    }
}

/// Whether the item carries `#[cfg(test)]`.
fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Ident>()
                .is_ok_and(|condition| condition == "test")
    })
}

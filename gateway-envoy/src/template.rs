//! Path templates of `google.api.http`, as far as a router needs them.
//!
//! `/api/v1/wallet/wallets/{wallet_id}/entries` becomes a match; which part is
//! which field is the transcoder's business, except for the names, which
//! [`crate::strict_json`] leaves out of the query.

use std::fmt::Write;

/// A path template.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Template {
    text: String,
    pattern: PathPattern,
    fields: Vec<String>,
}

/// What a path must look like.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum PathPattern {
    /// Exactly this.
    Exact(String),
    /// This regular expression, from the first character to the last.
    Regex(String),
}

/// A template that is not of the form.
#[derive(Debug, thiserror::Error)]
#[error("the path template `{0}` cannot be routed")]
pub struct TemplateInvalid(String);

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// When it does not begin with a slash, a brace is not closed, or a
    /// variable is empty or holds another.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateInvalid> {
        let invalid = || TemplateInvalid(text.to_owned());
        if !text.starts_with('/') {
            return Err(invalid());
        }
        let mut regex = String::new();
        let mut fields = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('{') {
            let (variable, after) = after.split_once('}').ok_or_else(invalid)?;
            let (field, pattern) = variable.split_once('=').unwrap_or((variable, "*"));
            if field.is_empty() || variable.contains('{') || literal.contains('}') {
                return Err(invalid());
            }
            push_segments(&mut regex, literal);
            push_segments(&mut regex, pattern);
            fields.push(field.to_owned());
            rest = after;
        }
        if rest.contains('}') {
            return Err(invalid());
        }
        push_segments(&mut regex, rest);
        let is_exact = fields.is_empty() && !text.contains('*');
        let pattern = if is_exact {
            PathPattern::Exact(text.to_owned())
        } else {
            PathPattern::Regex(regex)
        };
        Ok(Self {
            text: text.to_owned(),
            pattern,
            fields,
        })
    }

    /// The template as the contract writes it.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What a path must look like.
    pub(crate) fn pattern(&self) -> &PathPattern {
        &self.pattern
    }

    /// The fields of the request that the path carries.
    pub(crate) fn fields(&self) -> &[String] {
        &self.fields
    }

    /// Sorts templates so that the more particular comes first: exact paths,
    /// then those that end in a verb such as `:resolve`, then the others.
    pub(crate) fn precedence(&self) -> (bool, bool, &str) {
        let is_exact = matches!(self.pattern, PathPattern::Exact(_));
        let last = self.text.rsplit('/').next().unwrap_or_default();
        let has_verb = last
            .rsplit('}')
            .next()
            .is_some_and(|tail| tail.contains(':'));
        (!is_exact, !has_verb, &self.text)
    }
}

/// Appends the regular expression of literal text with `*` for one segment and
/// `**` for any number of them.
fn push_segments(regex: &mut String, text: &str) {
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '*' {
            let any_depth = characters.next_if_eq(&'*').is_some();
            regex.push_str(if any_depth { ".+" } else { "[^/]+" });
        } else if character.is_ascii_alphanumeric() || matches!(character, '/' | '-' | '_' | ':') {
            regex.push(character);
        } else {
            write!(regex, "\\x{{{:x}}}", u32::from(character))
                .expect("writing to a string never fails");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> PathPattern {
        Template::parse(text).unwrap().pattern().clone()
    }

    /// Literals stay, variables match one segment unless they say otherwise.
    #[test]
    fn templates_become_matches() {
        let exact = "/api/v1/identity/me";
        assert_eq!(pattern(exact), PathPattern::Exact(exact.to_owned()));
        for (template, regex) in [
            ("/a/{b}/c", "/a/[^/]+/c"),
            ("/a/{b}:verb", "/a/[^/]+:verb"),
            ("/a/{b=**}", "/a/.+"),
            ("/a/{b=shelves/*}", "/a/shelves/[^/]+"),
            ("/a.b/{c}", "/a\\x{2e}b/[^/]+"),
        ] {
            assert_eq!(pattern(template), PathPattern::Regex(regex.to_owned()));
        }
        let fields = Template::parse("/a/{b}/{c.d=*}").unwrap();
        assert_eq!(fields.fields(), ["b", "c.d"]);
    }

    /// What is no template is refused instead of matched loosely.
    #[test]
    fn malformed_templates_are_refused() {
        for wrong in ["", "a", "/a/{b", "/a/b}", "/a/{}", "/a/{b={c}}"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }

    /// A verb is tried before the variable that would swallow it.
    #[test]
    fn the_particular_comes_first() {
        let mut templates =
            ["/a/{b}", "/a/{b}:go", "/a/z"].map(|text| Template::parse(text).unwrap());
        templates.sort_by(|left, right| left.precedence().cmp(&right.precedence()));
        assert_eq!(
            templates.map(|template| template.text),
            ["/a/z", "/a/{b}:go", "/a/{b}"]
        );
    }
}

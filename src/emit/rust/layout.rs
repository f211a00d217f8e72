//! Lays expressions out as rustfmt does under this workspace's settings: what fits in one line is in one
//! line, else each part has its own. Knows nothing of what the expressions mean.

/// The widest line.
const WIDTH: usize = 110;

/// An expression, or a part of one.
pub(super) enum Expression {
    /// One that is never broken.
    Atom(String),
    /// A string literal that is made a `String`.
    Owned(String),
    /// `open` item, item `close`: a call, an array, a tuple.
    List { open: String, items: Vec<Expression>, close: &'static str },
    /// `name { field: value, … }`.
    Struct { name: String, fields: Vec<(&'static str, Expression)> },
}

/// An expression that is never broken.
pub(super) fn atom(text: impl Into<String>) -> Expression {
    Expression::Atom(text.into())
}

/// `"text".to_owned()`.
pub(super) fn owned(text: &str) -> Expression {
    Expression::Owned(string(text))
}

/// `name(items)`.
pub(super) fn call(name: &str, items: Vec<Expression>) -> Expression {
    Expression::List { open: format!("{name}("), items, close: ")" }
}

/// `[items]`.
pub(super) fn array(items: Vec<Expression>) -> Expression {
    Expression::List { open: "[".to_owned(), items, close: "]" }
}

/// `vec![items]`.
pub(super) fn vector(items: Vec<Expression>) -> Expression {
    Expression::List { open: "vec![".to_owned(), items, close: "]" }
}

/// `(items)`.
pub(super) fn tuple(items: Vec<Expression>) -> Expression {
    Expression::List { open: "(".to_owned(), items, close: ")" }
}

/// `name { field: value }`.
pub(super) fn structure(name: &str, fields: Vec<(&'static str, Expression)>) -> Expression {
    Expression::Struct { name: name.to_owned(), fields }
}

/// A string literal. Text of several lines stands below its opening quote, line by line as it is.
pub(in crate::emit) fn string(text: &str) -> String {
    let mut literal = String::from("\"");
    if text.contains('\n') && !text.starts_with(char::is_whitespace) {
        literal.push_str("\\\n");
    }
    for character in text.chars() {
        match character {
            '"' => literal.push_str("\\\""),
            '\\' => literal.push_str("\\\\"),
            '\n' => literal.push('\n'),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            _ if character.is_control() || is_invisible(character) => {
                literal.push_str(&character.escape_unicode().to_string());
            }
            _ => literal.push(character),
        }
    }
    literal.push('"');
    literal
}

/// Whether a character turns the direction of the text around it, which rustc refuses.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

impl Expression {
    /// The expression as it stands at `indent`, after `before` characters and followed by `after` of them
    /// in its lines.
    pub(super) fn lay_out(&self, indent: usize, before: usize, after: usize) -> String {
        let flat = self.flat();
        if !flat.contains('\n') && indent + before + flat.chars().count() + after <= WIDTH {
            return flat;
        }
        let inner = indent + 4;
        let margin = " ".repeat(inner);
        let end = " ".repeat(indent);
        match self {
            Self::Atom(text) => text.clone(),
            // A literal that is too wide by itself stays as it is.
            Self::Owned(literal) => match indent + before + literal.chars().count() <= WIDTH {
                true if !literal.contains('\n') => format!("{literal}\n{margin}.to_owned()"),
                _ => flat,
            },
            Self::List { open, items, close } => match items.as_slice() {
                [] => flat,
                // The only item, where it can be broken itself, is broken in its list's place.
                [only @ (Self::List { .. } | Self::Struct { .. })] if only.is_broken_in_place() => {
                    let only = only.lay_out(indent, before + open.chars().count(), close.len() + after);
                    format!("{open}{only}{close}")
                }
                items => {
                    let lines: String = items
                        .iter()
                        .map(|item| format!("{margin}{},\n", item.lay_out(inner, 0, 1)))
                        .collect();
                    format!("{open}\n{lines}{end}{close}")
                }
            },
            Self::Struct { name, fields } => {
                let lines: String = fields
                    .iter()
                    .map(|(field, value)| {
                        format!("{margin}{field}: {},\n", value.lay_out(inner, field.len() + 2, 1))
                    })
                    .collect();
                format!("{name} {{\n{lines}{end}}}")
            }
        }
    }

    fn flat(&self) -> String {
        match self {
            Self::Atom(text) => text.clone(),
            Self::Owned(literal) => format!("{literal}.to_owned()"),
            Self::List { open, items, close } => {
                let items: Vec<String> = items.iter().map(Self::flat).collect();
                format!("{open}{}{close}", items.join(", "))
            }
            Self::Struct { name, fields } => {
                let fields: Vec<String> =
                    fields.iter().map(|(field, value)| format!("{field}: {}", value.flat())).collect();
                format!("{name} {{ {} }}", fields.join(", "))
            }
        }
    }

    fn is_broken_in_place(&self) -> bool {
        match self {
            Self::Atom(_) | Self::Owned(_) => false,
            Self::List { items, .. } => !items.is_empty(),
            Self::Struct { fields, .. } => !fields.is_empty(),
        }
    }
}

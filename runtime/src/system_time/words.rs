//! A question as the parser's words, with the place of each in the text: which brackets belong together,
//! which names are common table expressions and where. Knows no relation.

use std::collections::BTreeSet;
use std::ops::Range;

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use crate::error::{Error, Result};

/// The words of a text, white space and comments left out.
pub(super) struct Words<'a> {
    pub text: &'a str,
    pub tokens: Vec<TokenWithSpan>,
    ranges: Vec<Range<usize>>,
    /// For each bracket, the one that belongs to it.
    partners: Vec<Option<usize>>,
}

impl<'a> Words<'a> {
    pub fn read(text: &'a str) -> Result<Self> {
        let tokens = Tokenizer::new(&PostgreSqlDialect {}, text)
            .with_unescape(false)
            .tokenize_with_location()
            .map_err(|error| {
                Error::new("the question cannot be read for its FOR SYSTEM_TIME")
                    .because(error.to_string())
                    .remedy("close what is opened: a string, a quoted name, a comment")
            })?;
        let tokens: Vec<TokenWithSpan> = tokens
            .into_iter()
            .filter(|word| !matches!(word.token, Token::Whitespace(_) | Token::EOF))
            .collect();
        let ranges = ranges(text, &tokens);
        let partners = partners(&tokens);
        Ok(Self { text, tokens, ranges, partners })
    }

    pub fn token(&self, index: usize) -> Option<&Token> {
        self.tokens.get(index).map(|word| &word.token)
    }

    /// Whether a word is this keyword, whatever its case.
    pub fn is(&self, index: usize, keyword: &str) -> bool {
        matches!(self.token(index), Some(Token::Word(word))
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(keyword))
    }

    /// The name that a word means, if it is one: unquoted ones in lower case.
    pub fn name(&self, index: usize) -> Option<String> {
        match self.token(index) {
            Some(Token::Word(word)) if word.quote_style.is_some() => Some(word.value.replace("\"\"", "\"")),
            Some(Token::Word(word)) => Some(word.value.to_lowercase()),
            _ => None,
        }
    }

    /// Where words stand in the text.
    pub fn range(&self, words: Range<usize>) -> Range<usize> {
        let end = words.end.checked_sub(1).map_or(0, |last| self.ranges[last].end);
        self.ranges.get(words.start).map_or(end, |first| first.start)..end
    }

    /// The words as they were written.
    pub fn written(&self, words: Range<usize>) -> &'a str {
        &self.text[self.range(words)]
    }

    /// The bracket that belongs to this one.
    pub fn partner(&self, index: usize) -> Option<usize> {
        self.partners.get(index).copied().flatten()
    }

    /// Whether a name means a common table expression at a word.
    pub fn is_common(&self, name: &str, at: usize) -> bool {
        self.commons().iter().any(|(common, visible)| common == name && visible.contains(&at))
    }

    /// The common table expressions, and the words in which their names can be seen.
    fn commons(&self) -> Vec<(String, Range<usize>)> {
        let mut found = Vec::new();
        for with in (0..self.tokens.len()).filter(|index| self.is(*index, "with")) {
            let end = self.end_of_group(with);
            let recursive = self.is(with + 1, "recursive");
            let mut next = with + 1 + usize::from(recursive);
            while let Some((name, body)) = self.common(next) {
                let Some(close) = self.partner(body) else { break };
                found.push((name, if recursive { with } else { close }..end));
                let Some(comma) = self.comma(close + 1) else { break };
                next = comma + 1;
            }
        }
        found
    }

    /// The name of a common table expression that begins at a word, and the bracket that opens its query.
    fn common(&self, index: usize) -> Option<(String, usize)> {
        let name = self.name(index)?;
        let mut next = index + 1;
        if self.token(next) == Some(&Token::LParen) {
            next = self.partner(next)? + 1;
        }
        if !self.is(next, "as") {
            return None;
        }
        next += 1;
        next += usize::from(self.is(next, "not"));
        next += usize::from(self.is(next, "materialized"));
        (self.token(next) == Some(&Token::LParen)).then_some((name, next))
    }

    /// The comma before the next common table expression, where one follows: behind the SEARCH and CYCLE of the last,
    /// whose columns have commas of their own.
    fn comma(&self, behind: usize) -> Option<usize> {
        if self.token(behind) == Some(&Token::Comma) {
            return Some(behind);
        }
        if !self.is(behind, "search") && !self.is(behind, "cycle") {
            return None;
        }
        let ends =
            |index: usize| ["select", "values", "table", "with"].iter().any(|word| self.is(index, word));
        let mut index = behind;
        while index < self.tokens.len() && !ends(index) {
            match self.token(index) {
                Some(Token::Comma) if self.common(index + 1).is_some() => return Some(index),
                Some(Token::LParen) => index = self.partner(index)?,
                _ => {}
            }
            index += 1;
        }
        None
    }

    /// What stands before the point of a name that is no function's.
    pub fn schemas(&self) -> BTreeSet<String> {
        let is_point = |index: usize| self.token(index) == Some(&Token::Period);
        let named = (0..self.tokens.len()).filter(|index| {
            is_point(index + 1)
                && self.name(index + 2).is_some()
                && self.token(index + 3) != Some(&Token::LParen)
                && !index.checked_sub(1).is_some_and(is_point)
        });
        named.filter_map(|index| self.name(index)).collect()
    }

    /// The bracket that closes the group in which a word stands, or the end.
    fn end_of_group(&self, index: usize) -> usize {
        let closes = |close: &usize| {
            self.tokens[*close].token == Token::RParen && self.partner(*close).is_none_or(|open| open < index)
        };
        (index..self.tokens.len()).find(closes).unwrap_or(self.tokens.len())
    }
}

/// The tokenizer counts lines and characters; the text is cut by bytes.
fn ranges(text: &str, tokens: &[TokenWithSpan]) -> Vec<Range<usize>> {
    let mut places = text.char_indices().chain([(text.len(), ' ')]);
    let mut now = (0, Location { line: 1, column: 1 });
    let mut upcoming = places.next();
    let mut offset = |wanted: Location| {
        while now.1 < wanted {
            let Some((_, character)) = upcoming else { break };
            upcoming = places.next();
            let Some((place, _)) = upcoming else { break };
            let Location { line, column } = now.1;
            let location = match character {
                '\n' => Location { line: line + 1, column: 1 },
                _ => Location { line, column: column + 1 },
            };
            now = (place, location);
        }
        now.0
    };
    tokens
        .iter()
        .map(|word| {
            let start = offset(word.span.start);
            start..offset(word.span.end)
        })
        .collect()
}

fn partners(tokens: &[TokenWithSpan]) -> Vec<Option<usize>> {
    let mut partners = vec![None; tokens.len()];
    let mut open = Vec::new();
    for (index, word) in tokens.iter().enumerate() {
        match word.token {
            Token::LParen => open.push(index),
            Token::RParen => {
                if let Some(start) = open.pop() {
                    partners[start] = Some(index);
                    partners[index] = Some(start);
                }
            }
            _ => {}
        }
    }
    partners
}

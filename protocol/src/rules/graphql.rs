//! Which operation a GraphQL document asks for.
//!
//! Read as far as that needs (GraphQL, section 2): what stands in strings, comments, selections and arguments is passed
//! over, so that a field called `subscription` makes no subscription.

/// What an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It reads.
    Query,
    /// It changes something.
    Mutation,
    /// It goes on.
    Subscription,
}

/// A part of a document that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Name(&'a [u8]),
    Open(u8),
    Close,
    /// Anything else.
    Other,
}

/// The operation that would be run: the one of this name, or without a name the only one. `None`: there is no such one,
/// and a server answers with an error.
pub(super) fn operation(document: &[u8], name: Option<&[u8]>) -> Option<Operation> {
    let mut found = None;
    for (operation, own) in Definitions(Tokens(document)) {
        match name {
            Some(name) if own == Some(name) => return Some(operation),
            Some(_) => {}
            None if found.is_some() => return None,
            None => found = Some(operation),
        }
    }
    found
}

/// The operations of a document, each with its name.
struct Definitions<'a>(Tokens<'a>);

impl<'a> Iterator for Definitions<'a> {
    type Item = (Operation, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let operation = match self.0.next()? {
                Token::Open(b'{') => {
                    self.0.pass_group();
                    return Some((Operation::Query, None));
                }
                Token::Name(b"query") => Some(Operation::Query),
                Token::Name(b"mutation") => Some(Operation::Mutation),
                Token::Name(b"subscription") => Some(Operation::Subscription),
                // A fragment, or what no server runs.
                Token::Name(_) => None,
                Token::Open(_) | Token::Close | Token::Other => continue,
            };
            let name = self.0.pass_selection();
            if let Some(operation) = operation {
                return Some((operation, name));
            }
        }
    }
}

/// The rest of a document.
struct Tokens<'a>(&'a [u8]);

impl<'a> Tokens<'a> {
    /// Goes behind the selection that comes next. Returns the name that follows at once, if one does.
    fn pass_selection(&mut self) -> Option<&'a [u8]> {
        let mut token = self.next();
        let name = if let Some(Token::Name(name)) = token { Some(name) } else { None };
        while let Some(there) = token {
            if let Token::Open(kind) = there {
                self.pass_group();
                if kind == b'{' {
                    break;
                }
            }
            token = self.next();
        }
        name
    }

    /// Goes behind the bracket that closes the one before.
    fn pass_group(&mut self) {
        let mut depth = 1_usize;
        while depth > 0 {
            match self.next() {
                Some(Token::Open(_)) => depth += 1,
                Some(Token::Close) => depth -= 1,
                Some(Token::Name(_) | Token::Other) => {}
                None => return,
            }
        }
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn take_while(&mut self, belongs: impl Fn(u8) -> bool) -> &'a [u8] {
        self.take(self.0.iter().take_while(|byte| belongs(**byte)).count())
    }

    /// Goes behind a string, block strings included (GraphQL 2.9.4).
    fn pass_string(&mut self) {
        let (quote, block): (&[u8], _) = if self.0.starts_with(b"\"\"\"") { (b"\"\"\"", true) } else { (b"\"", false) };
        self.take(quote.len());
        while !self.0.is_empty() && !self.0.starts_with(quote) {
            let escaped = match self.0 {
                [b'\\', rest @ ..] if !block || rest.starts_with(quote) => quote.len(),
                _ => 0,
            };
            self.take(1 + escaped);
        }
        self.take(quote.len());
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            return Some(match self.0.first()? {
                b'#' => {
                    self.take_while(|byte| !matches!(byte, b'\n' | b'\r'));
                    continue;
                }
                b' ' | b'\t' | b'\n' | b'\r' | b',' | 0xEF | 0xBB | 0xBF => {
                    self.take(1);
                    continue;
                }
                b'"' => {
                    self.pass_string();
                    Token::Other
                }
                b'_' | b'A'..=b'Z' | b'a'..=b'z' => {
                    Token::Name(self.take_while(|byte| byte == b'_' || byte.is_ascii_alphanumeric()))
                }
                open @ (b'{' | b'(' | b'[') => {
                    self.take(1);
                    Token::Open(*open)
                }
                b'}' | b')' | b']' => {
                    self.take(1);
                    Token::Close
                }
                _ => {
                    self.take(1);
                    Token::Other
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(document: &str, name: Option<&str>) -> Option<Operation> {
        operation(document.as_bytes(), name.map(str::as_bytes))
    }

    #[test]
    fn an_operation_is_what_its_keyword_says_and_a_query_without_one() {
        for (document, wanted) in [
            ("{ a }", Operation::Query),
            ("query { a }", Operation::Query),
            ("mutation M($a: [Int!]! = [1], $b: In = {c: 1}) @d(e: {f: 1}) { a }", Operation::Mutation),
            ("subscription{a}", Operation::Subscription),
            ("\u{feff}\n# query\n,subscription S { a }", Operation::Subscription),
            ("fragment subscription on T { a } query { ...subscription }", Operation::Query),
        ] {
            assert_eq!(of(document, None), Some(wanted), "{document}");
        }
    }

    #[test]
    fn what_stands_in_selections_strings_and_comments_is_no_operation() {
        for document in [
            "query { user { subscription { plan } } }",
            "query ($a: S = {subscription: 1}) { a }",
            r#"query { a(text: "} subscription { b }") }"#,
            r#"query { a(text: "\"} subscription { b }") }"#,
            r#"query { a(text: """ \""" } subscription { "b" } """) }"#,
            "query { a } # subscription { b }",
        ] {
            assert_eq!(of(document, None), Some(Operation::Query), "{document}");
        }
    }

    #[test]
    fn of_several_operations_the_name_says_which() {
        let document = "query A { a } subscription B { b } mutation C { c }";
        assert_eq!(of(document, Some("B")), Some(Operation::Subscription));
        assert_eq!(of(document, Some("C")), Some(Operation::Mutation));
        assert_eq!(of(document, Some("D")), None);
        assert_eq!(of(document, None), None);
    }

    #[test]
    fn what_is_no_document_asks_for_nothing() {
        for document in ["", "}", "\"", "\"\"\"", "(", "# query", "123"] {
            assert_eq!(of(document, None), None, "{document}");
        }
    }
}

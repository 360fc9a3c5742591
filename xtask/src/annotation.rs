//! What the tests say they show: the ids in the comment above each.
//!
//! A comment line that begins with ids is an annotation: `// 5.9, 7.16, known-failures 69: why`. It
//! holds for the test below it, or for all tests of the `for` or `describe` below it.

use crate::requirement::Id;

/// Where a test may come from beside the two documents.
const OTHER_SOURCES: [&str; 4] = ["document ", "product.md", "readme", "rfc "];
const FORM: &str = "write `// 5.9, known-failures 12: why`";

/// One test, and what it names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Test {
    pub(crate) name: String,
    /// The line it begins at, from 1.
    pub(crate) line: usize,
    pub(crate) ids: Vec<Id>,
    /// Whether it names a source that is none of the two documents.
    pub(crate) elsewhere: bool,
    /// It is known to fail, or is not run, so it shows nothing yet.
    pub(crate) todo: bool,
    /// What is wrong with the comment above it.
    pub(crate) mistake: Option<String>,
}

/// The tests of a Rust file.
pub(crate) fn rust(source: &str) -> Vec<Test> {
    let mut tests = Vec::new();
    let mut above = Comment::default();
    let (mut is_test, mut ignored) = (false, false);
    for (line, text) in numbered(source) {
        if let Some(comment) = text.strip_prefix("//") {
            above.add(comment);
        } else if text.starts_with("#[test]") || text.starts_with("#[wasm_bindgen_test") {
            is_test = true;
        } else if text.starts_with("#[ignore") {
            ignored = true;
        } else if let (true, Some(name)) = (is_test, function(text)) {
            let test = above.take().test(name, line);
            tests.push(Test {
                todo: ignored,
                ..test
            });
            (is_test, ignored) = (false, false);
        } else if !is_test && !text.starts_with("#[") {
            above = Comment::default();
        }
    }
    tests
}

/// The tests of a JavaScript or TypeScript file: calls of `test` and `scenario`.
pub(crate) fn script(source: &str) -> Vec<Test> {
    let lines: Vec<&str> = source.lines().collect();
    let mut tests = Vec::new();
    let mut blocks: Vec<Block> = Vec::new();
    let mut above = Comment::default();
    for (line, text) in numbered(source) {
        let indent = indent(lines[line - 1]);
        if text.starts_with('}') {
            blocks.retain(|block| block.indent < indent);
        }
        if let Some(comment) = text.strip_prefix("//") {
            above.add(comment);
        } else if text.starts_with("for (") || text.starts_with("describe(") {
            blocks.push(Block {
                indent,
                title: literal(text),
                comment: above.take(),
            });
        } else if text.starts_with("scenario(") || text.starts_with("test(") {
            let mut test = above.take().test("", line);
            name(&mut test, &lines[line - 1..], &blocks);
            tests.push(test);
        } else if !text.starts_with("const ") {
            above = Comment::default();
        }
    }
    tests
}

/// The ids of a list such as `5.9, known-failures 12`; anything else is a mistake.
pub(crate) fn listed(text: &str) -> Result<Vec<Id>, String> {
    let found = ids(text)?;
    if found.ids.is_empty() || found.elsewhere {
        return Err(format!("`{text}` is no list of ids"));
    }
    Ok(found.ids)
}

/// Line numbers from 1, and the lines without the space around them.
fn numbered(source: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(source.lines().map(str::trim))
}

/// Several tests under one comment.
struct Block {
    indent: usize,
    title: Option<String>,
    comment: Comment,
}

/// What the comment above something says.
#[derive(Debug, Default)]
struct Comment {
    ids: Vec<Id>,
    elsewhere: bool,
    mistake: Option<String>,
}

impl Comment {
    fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    fn add(&mut self, line: &str) {
        match ids(line.trim()) {
            Ok(found) => self.join(&found),
            Err(mistake) => self.mistake = Some(mistake),
        }
    }

    fn join(&mut self, other: &Self) {
        self.ids.extend(&other.ids);
        self.elsewhere |= other.elsewhere;
        self.mistake = self.mistake.take().or_else(|| other.mistake.clone());
    }

    fn test(self, name: &str, line: usize) -> Test {
        Test {
            name: name.to_owned(),
            line,
            ids: self.ids,
            elsewhere: self.elsewhere,
            todo: false,
            mistake: self.mistake,
        }
    }
}

/// The ids that a comment line begins with; empty if it is only words.
fn ids(text: &str) -> Result<Comment, String> {
    let mut found = Comment::default();
    let (head, why) = text.split_once(": ").unwrap_or((text, ""));
    let head = head.trim_end_matches(['.', ':']).replace(" and ", ", ");
    let mut rows = false;
    for piece in head.split([',', ';']).map(str::trim) {
        let piece = piece.strip_prefix("behaviour.md ").unwrap_or(piece);
        let lower = piece.to_ascii_lowercase();
        let row = lower.strip_prefix("known-failures ");
        rows |= row.is_some();
        let known = row.or(Some(piece).filter(|_| rows)).and_then(Id::known);
        if let Some(id) = known.or_else(|| Id::rule(piece)) {
            found.ids.push(id);
        } else if OTHER_SOURCES.iter().any(|name| lower.starts_with(name)) {
            found.elsewhere = true;
        } else if is_range(row.unwrap_or(piece)) {
            return Err(format!(
                "`{piece}` is a range; name each id that the test shows"
            ));
        } else if found.ids.is_empty() && !found.elsewhere {
            return words(text).map(|()| Comment::default());
        } else {
            return Err(format!("`{piece}` is no id; {FORM}"));
        }
    }
    words(why).map(|()| found)
}

/// What is no annotation must not look like one to people either.
fn words(text: &str) -> Result<(), String> {
    if text.contains("known-failures ") || text.contains("behaviour.md ") {
        return Err(format!("the ids have to come first; {FORM}"));
    }
    Ok(())
}

fn is_range(piece: &str) -> bool {
    let ends = piece.split_once(" to ").or_else(|| piece.split_once('-'));
    ends.is_some_and(|(from, to)| {
        Id::rule(from).or_else(|| Id::known(from)).is_some()
            && Id::rule(to).or_else(|| Id::known(to)).is_some()
    })
}

/// The name in `async fn name(`.
fn function(text: &str) -> Option<&str> {
    let text = text.strip_prefix("async ").unwrap_or(text);
    text.strip_prefix("fn ")?.split('(').next()
}

/// Fills in what stands in the call that `lines` begin with, and around it.
fn name(test: &mut Test, lines: &[&str], blocks: &[Block]) {
    let ends = |line: &&&str| line.contains("=>") || line.contains("function");
    let length = lines.iter().position(|line| ends(&line)).unwrap_or(0);
    let call = lines[..=length].join(" ");
    test.todo = call.contains("todo:");
    let title = blocks.iter().rev().find_map(|block| block.title.clone());
    test.name = literal(&call).or(title).unwrap_or_default();
    let mut all = Comment::default();
    for block in blocks {
        all.join(&block.comment);
    }
    test.ids.extend(all.ids);
    test.elsewhere |= all.elsewhere;
    test.mistake = test.mistake.take().or(all.mistake);
}

/// The string that is the first argument of a call.
fn literal(call: &str) -> Option<String> {
    let (_, arguments) = call.split_once('(')?;
    let mut letters = arguments.trim_start().chars();
    let quote = letters.next().filter(|c| matches!(c, '\'' | '"' | '`'))?;
    let mut text = String::new();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => text.extend(letters.next()),
            _ if letter == quote => return Some(text),
            _ => text.push(letter),
        }
    }
    None
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(ids: &[Id]) -> Vec<String> {
        ids.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ids_stand_first_and_words_follow() {
        for (line, expected) in [
            (
                "5.9, 7.16, known-failures 69: a copy, at 1.5 s",
                &["5.9", "7.16", "known-failures 69"][..],
            ),
            (
                "behaviour.md 2.10; known-failures 50 and 51",
                &["2.10", "known-failures 50", "known-failures 51"],
            ),
            ("Known-failures 20", &["known-failures 20"]),
            ("3.4.", &["3.4"]),
            ("document 003; behaviour.md 1.12, RFC 6749 §6", &["1.12"]),
            ("Servers that no preset fits.", &[]),
            ("Tokens live 3.5 s, 2.1 s or less", &[]),
        ] {
            assert_eq!(texts(&ids(line).unwrap().ids), expected, "{line}");
        }
        assert!(ids("document 002: why").unwrap().elsewhere);
    }

    #[test]
    fn what_cannot_be_counted_is_refused() {
        for line in [
            "2.2 to 2.16, 3.6",
            "known-failures 17 to 19",
            "5.9, whatever",
            "No event (known-failures 45)",
            "5.3: not of a lock (known-failures 14)",
        ] {
            assert!(ids(line).is_err(), "{line}");
        }
    }

    #[test]
    fn rust_tests_are_found_with_their_comments() {
        let source = "// 9.9: about a helper\nfn helper() {}\n\n// 5.1: why\n// and more\n#[test]\n\
            fn one() {}\n\n#[wasm_bindgen_test]\nasync fn two() {\n    // 1.1\n    let x = 1;\n}\n\n\
            // 7.1\n#[test]\n#[ignore]\n#[allow(\n    x\n)]\nfn three(x: u8) {}\n";
        let found = rust(source);
        let found: Vec<_> = found
            .iter()
            .map(|test| (test.name.as_str(), test.line, texts(&test.ids)))
            .collect();
        assert_eq!(
            found,
            [
                ("one", 7, vec!["5.1".to_owned()]),
                ("two", 10, vec![]),
                ("three", 21, vec!["7.1".to_owned()])
            ]
        );
        assert_eq!(rust(source).iter().filter(|test| test.todo).count(), 1);
        let wrong = rust("// 1.1 to 1.5\n#[test]\nfn ranged() {}\n");
        assert!(wrong[0].mistake.is_some() && wrong[0].ids.is_empty());
    }

    #[test]
    fn script_tests_inherit_from_the_loop_around_them() {
        let source = "\
// 1.1
for (const [a, b] of [
  ['x', 1],
]) {
  // 2.2: why
  scenario(`${a}: it\\'s \"so\"`, {}, async (world) => {
    for (const each of world) {
      one(each)
    }
  })
  describe('the group', () => {
    scenario(name, { todo: 'later' }, async () => {})
  })
}

// 3.3
const NOISE = { noise: /x/ }
scenario(
  'on lines of its own',
  NOISE,
  async () => {},
)

test('alone', () => {})
";
        let found = script(source);
        let found: Vec<_> = found
            .iter()
            .map(|test| (test.name.as_str(), texts(&test.ids).join(" "), test.todo))
            .collect();
        assert_eq!(
            found,
            [
                ("${a}: it's \"so\"", "2.2 1.1".to_owned(), false),
                ("the group", "1.1".to_owned(), true),
                ("on lines of its own", "3.3".to_owned(), false),
                ("alone", String::new(), false)
            ]
        );
    }
}

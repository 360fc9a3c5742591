//! The size table of the package.

use anyhow::{Context, Result, bail};

use crate::project::Project;

/// Node has gzip and brotli built in, so xtask needs neither.
const SCRIPT: &str = "
const { readFileSync } = require('node:fs');
const { gzipSync, brotliCompressSync } = require('node:zlib');
for (const file of process.argv.slice(1)) {
  const data = readFileSync(file);
  console.log(data.length, gzipSync(data, { level: 9 }).length, brotliCompressSync(data).length);
}";

/// Bytes of one file: raw, gzip -9, brotli 11.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Size([u64; 3]);

/// Prints what the slim pair and the one-file entry weigh.
pub(crate) fn print(project: &Project) -> Result<()> {
    let files = ["keepfresh.wasm", "slim.js", "index.js"];
    for file in files {
        if !project.root.join("pkg/dist").join(file).is_file() {
            bail!("`npm run build` left no pkg/dist/{file}; see target/xtask/npm-build.log");
        }
    }
    let mut node = project.command("node", "pkg/dist");
    let text = crate::host::output(node.args(["-e", SCRIPT, "--"]).args(files))
        .context("node cannot measure the files in pkg/dist")?;
    print!("{}", table(&parse(&text)));
    Ok(())
}

fn parse(text: &str) -> Vec<Size> {
    text.lines()
        .map(|line| {
            let mut size = Size::default();
            for (slot, word) in size.0.iter_mut().zip(line.split(' ')) {
                *slot = word.parse().unwrap_or(0);
            }
            size
        })
        .collect()
}

fn table(sizes: &[Size]) -> String {
    let &[wasm, slim, index] = sizes else {
        return String::new();
    };
    let mut pair = wasm;
    for (sum, more) in pair.0.iter_mut().zip(slim.0) {
        *sum += more;
    }
    let row = |name: &str, size: Size| {
        let [raw, gzip, brotli] = size.0;
        format!("{name:<32} {raw:>9} {gzip:>9} {brotli:>9}\n")
    };
    [
        format!(
            "{:<32} {:>9} {:>9} {:>9}\n",
            "bytes", "raw", "gzip -9", "brotli 11"
        ),
        row("keepfresh.wasm", wasm),
        row("slim.js", slim),
        row("slim pair (wasm + slim.js)", pair),
        row("index.js (all in one)", index),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pair_is_the_sum() {
        let sizes = parse("100 60 50\n30 20 10\n170 90 80\n");
        assert_eq!(sizes[0], Size([100, 60, 50]));
        let text = table(&sizes);
        let pair = text
            .lines()
            .find(|line| line.starts_with("slim pair"))
            .unwrap();
        assert!(
            pair.split_whitespace()
                .rev()
                .take(3)
                .eq(["60", "80", "130"])
        );
    }
}

'use strict';

/** Reads the words of a conformance script, and holds results against them. A text is its bytes, one a letter. */

const WORD = /[ \t\r\n]*(?:(#.*)|"((?:[^"\\]|\\["\\nrt]|\\x[0-9a-fA-F]{2})*)"(?:\*([0-9]+))?|([A-Za-z0-9_.:*?-]+)|(=>|[,=[\]@|]))/y;
const ESCAPES = { '"': '"', '\\': '\\', n: '\n', r: '\r', t: '\t' };

const bare = (text) => ({ kind: 'bare', text });
const mark = (text) => ({ kind: 'mark', text });
const quoted = (text) => ({ kind: 'quoted', text });

function unescape(text) {
  return text.replace(/\\(x(..)|.)/g, (_, escape, hex) => (hex ? String.fromCharCode(parseInt(hex, 16)) : ESCAPES[escape]));
}

/** Returns the words of a line, or null if one of them is invalid. */
function readWords(line) {
  const words = [];
  for (let at = 0; line.slice(at).trim() !== ''; ) {
    WORD.lastIndex = at;
    const found = WORD.exec(line);
    if (found === null) return null;
    const [, comment, inside, times, letters, sign] = found;
    if (comment !== undefined) break;
    if (inside !== undefined) words.push(quoted(unescape(inside).repeat(Number(times ?? 1))));
    else words.push(letters !== undefined ? bare(letters) : mark(sign));
    at = WORD.lastIndex;
  }
  return words;
}

const isMark = (word, text) => word?.kind === 'mark' && word.text === text;
const isWord = (word) => word !== undefined && word.kind !== 'mark';

/** A step: which cache, what operation, its arguments and options, and the words of its result. */
function readStatement(words) {
  const step = { cache: '', operation: '', arguments: [], options: new Map(), wanted: [bare('ok')] };
  let at = 0;
  if (words[0].kind === 'bare' && /.:$/.test(words[0].text)) step.cache = words[at++].text.slice(0, -1);
  if (!isWord(words[at])) throw new Error('a step begins with its operation');
  step.operation = words[at++].text;
  while (isWord(words[at])) {
    const { text } = words[at++];
    if (!isMark(words[at], '=') || !isWord(words[at + 1])) {
      step.arguments.push(text);
      continue;
    }
    const list = [];
    while (isMark(words[at], list.length ? ',' : '=') && isWord(words[at + 1])) {
      list.push(words[at + 1].text);
      at += 2;
    }
    step.options.set(text, list);
  }
  if (at === words.length) return step;
  if (!isMark(words[at], '=>') || at + 1 === words.length) throw new Error('what follows the arguments is no result');
  step.wanted = words.slice(at + 1);
  return step;
}

function inRange(wanted, came) {
  const range = /^(-?[0-9]+)(?:\.\.(-?[0-9]+))?$/.exec(wanted);
  if (range === null || !/^-?[0-9]+$/.test(came)) return false;
  // Numbers of 64 bits, which a double cannot tell apart.
  return BigInt(range[1]) <= BigInt(came) && BigInt(came) <= BigInt(range[2] ?? range[1]);
}

function wordMatches(wanted, came, scored) {
  if (wanted.kind !== came.kind) return false;
  if (scored) return wanted.kind === 'bare' && Math.abs(Number(wanted.text) - Number(came.text)) <= 0.01;
  return wanted.text === came.text || (wanted.kind === 'bare' && inRange(wanted.text, came.text));
}

function matches(wanted, came) {
  return wanted.length === came.length && wanted.every((word, at) => wordMatches(word, came[at], isMark(wanted[at - 1], '@')));
}

function shown({ kind, text }) {
  if (kind !== 'quoted') return text;
  return JSON.stringify(text.slice(0, 200)) + (text.length > 200 ? `... (${text.length} bytes)` : '');
}

module.exports = { bare, mark, quoted, readWords, readStatement, matches, show: (words) => words.map(shown).join(' ') };

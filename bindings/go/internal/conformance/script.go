package main

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A kind of token: a bare word, a quoted one, or a mark such as "=>".
type kind int

const (
	bare kind = iota
	quoted
	mark
)

type token struct {
	kind kind
	text string
}

func (token token) is(text string) bool {
	return token.kind != quoted && token.text == text
}

func (token token) String() string {
	if token.kind != quoted {
		return token.text
	}
	if len(token.text) > 200 {
		return fmt.Sprintf("%+q... (%d bytes)", token.text[:200], len(token.text))
	}
	return fmt.Sprintf("%+q", token.text)
}

func printed(tokens []token) string {
	var words []string
	for _, token := range tokens {
		words = append(words, token.String())
	}
	return strings.Join(words, " ")
}

func isBare(letter byte) bool {
	return letter >= '0' && letter <= '9' || letter >= 'a' && letter <= 'z' || letter >= 'A' && letter <= 'Z' ||
		strings.IndexByte("_.:*?-", letter) >= 0
}

// The words of a line.
func readTokens(line string) (tokens []token, err error) {
	for {
		line = strings.TrimLeft(line, " \t\r\n")
		if line == "" || line[0] == '#' {
			return tokens, nil
		}
		var word token
		switch {
		case line[0] == '"':
			word, line, err = readQuoted(line[1:])
		case isBare(line[0]):
			word, line = readBare(line)
		default:
			word, line, err = readMark(line)
		}
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, word)
	}
}

func readBare(line string) (token, string) {
	end := 0
	for end < len(line) && isBare(line[end]) {
		end++
	}
	return token{bare, line[:end]}, line[end:]
}

func readMark(line string) (token, string, error) {
	if strings.HasPrefix(line, "=>") {
		return token{mark, "=>"}, line[2:], nil
	}
	if strings.IndexByte(",=[]@|", line[0]) >= 0 {
		return token{mark, line[:1]}, line[1:], nil
	}
	return token{}, "", fmt.Errorf("this line has an invalid word, at %q", line)
}

var escapes = map[byte]byte{'"': '"', '\\': '\\', 'n': '\n', 'r': '\r', 't': '\t'}

// A quoted word behind its first quote, with its repetition.
func readQuoted(line string) (token, string, error) {
	var text bytes.Buffer
	for line != "" && line[0] != '"' {
		if line[0] != '\\' {
			text.WriteByte(line[0])
			line = line[1:]
			continue
		}
		letter, rest, err := readEscape(line[1:])
		if err != nil {
			return token{}, "", err
		}
		text.WriteByte(letter)
		line = rest
	}
	if line == "" {
		return token{}, "", fmt.Errorf("a quoted word has no end")
	}
	times, line := readTimes(line[1:])
	return token{quoted, strings.Repeat(text.String(), times)}, line, nil
}

func readEscape(line string) (byte, string, error) {
	if line != "" {
		if letter, ok := escapes[line[0]]; ok {
			return letter, line[1:], nil
		}
	}
	if len(line) >= 3 && line[0] == 'x' {
		if letter, err := strconv.ParseUint(line[1:3], 16, 8); err == nil {
			return byte(letter), line[3:], nil
		}
	}
	return 0, "", fmt.Errorf("an invalid escape, at %q", line)
}

// Returns the number of repetitions of a word: *N behind it.
func readTimes(line string) (int, string) {
	if len(line) < 2 || line[0] != '*' {
		return 1, line
	}
	end := 1
	for end < len(line) && line[end] >= '0' && line[end] <= '9' {
		end++
	}
	times, err := strconv.Atoi(line[1:end])
	if err != nil {
		return 1, line
	}
	return times, line[end:]
}

// A step: what is run, and what has to come of it.
type statement struct {
	line      int
	cache     string
	operation string
	arguments []string
	options   []option
	wanted    []token
}

type option struct {
	name   string
	values []string
}

// The values of an option; nil without it.
func (step *statement) option(name string) []string {
	for _, option := range step.options {
		if option.name == name {
			return option.values
		}
	}
	return nil
}

func (step *statement) wantsOK() bool {
	return len(step.wanted) == 1 && step.wanted[0].is("ok")
}

func readStatement(words []token, line int) (*statement, error) {
	step := &statement{line: line}
	if len(words) > 0 && words[0].kind == bare && len(words[0].text) > 1 && strings.HasSuffix(words[0].text, ":") {
		step.cache = strings.TrimSuffix(words[0].text, ":")
		words = words[1:]
	}
	if len(words) == 0 || words[0].kind == mark {
		return nil, fmt.Errorf("a step begins with its operation")
	}
	step.operation, words = words[0].text, words[1:]
	for len(words) > 0 && words[0].kind != mark {
		words = step.readArgument(words)
	}
	return step, step.readWanted(words)
}

func isMark(words []token, at int, text string) bool {
	return at < len(words) && words[at].kind == mark && words[at].text == text
}

func isWord(words []token, at int) bool {
	return at < len(words) && words[at].kind != mark
}

func (step *statement) readArgument(words []token) []token {
	if !isMark(words, 1, "=") || !isWord(words, 2) {
		step.arguments = append(step.arguments, words[0].text)
		return words[1:]
	}
	read := option{name: words[0].text, values: []string{words[2].text}}
	words = words[3:]
	for isMark(words, 0, ",") && isWord(words, 1) {
		read.values = append(read.values, words[1].text)
		words = words[2:]
	}
	step.options = append(step.options, read)
	return words
}

func (step *statement) readWanted(words []token) error {
	step.wanted = []token{{bare, "ok"}}
	if len(words) == 0 {
		return nil
	}
	if !isMark(words, 0, "=>") || len(words) == 1 {
		return fmt.Errorf("what follows the arguments is no result")
	}
	step.wanted = words[1:]
	return nil
}

// Reports whether the result is the wanted one.
func match(wanted, came []token) bool {
	if len(wanted) != len(came) {
		return false
	}
	for at := range wanted {
		scored := at > 0 && wanted[at-1].kind == mark && wanted[at-1].text == "@"
		if scored && !nearScore(wanted[at], came[at]) || !scored && !same(wanted[at], came[at]) {
			return false
		}
	}
	return true
}

func nearScore(wanted, came token) bool {
	one, err := strconv.ParseFloat(wanted.text, 64)
	other, err2 := strconv.ParseFloat(came.text, 64)
	return err == nil && err2 == nil && math.Abs(one-other) <= 0.01
}

func same(wanted, came token) bool {
	return wanted == came || wanted.kind == bare && came.kind == bare && inRange(wanted.text, came.text)
}

// N, or N..M.
func inRange(wanted, came string) bool {
	first, last, isRange := strings.Cut(wanted, "..")
	if !isRange {
		last = first
	}
	low, err := strconv.ParseInt(first, 10, 64)
	high, err2 := strconv.ParseInt(last, 10, 64)
	number, err3 := strconv.ParseInt(came, 10, 64)
	return err == nil && err2 == nil && err3 == nil && low <= number && number <= high
}

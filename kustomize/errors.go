package kustomize

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/gitopskit/gitopskit/internal/clip"
)

// ErrMalformed says that what should be the JSON form of [Inputs] is not.
var ErrMalformed = errors.New("malformed inputs")

// RefusedError says that a kustomization asks for something that a build never
// does: read what is outside of the tree, use the network, run a program.
type RefusedError struct {
	File   string // in the tree
	Field  string // of the file, for instance resources[2]; empty if it is the file itself
	Value  string // as the file has it
	Reason string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s: refused %s: %s", place(e.File, e.Field), quote(e.Value), e.Reason)
}

// Terminal reports that trying again cannot help.
func (e *RefusedError) Terminal() bool { return true }

// InputError says that a file of the tree cannot be used as it is, or is missing.
type InputError struct {
	File  string // in the tree
	Field string // of the file, where one is at fault
	Err   error
}

func (e *InputError) Error() string { return fmt.Sprintf("%s: %v", place(e.File, e.Field), e.Err) }

func (e *InputError) Unwrap() error { return e.Err }

// Terminal reports that trying again cannot help.
func (e *InputError) Terminal() bool { return true }

// OptionError says that an option cannot be used, whatever the tree.
type OptionError struct {
	Field string // of [Options], for instance Patches[2].Target
	Value string // of the field
	Err   error
}

func (e *OptionError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("Options.%s: %v", e.Field, e.Err)
	}
	return fmt.Sprintf("Options.%s: %s: %v", e.Field, quote(e.Value), e.Err)
}

func (e *OptionError) Unwrap() error { return e.Err }

// Terminal reports that trying again cannot help.
func (e *OptionError) Terminal() bool { return true }

// LimitError says that a build reads more than allowed.
type LimitError struct {
	Limit string // the field of [Limits]
	Max   int64  // its value
	File  string // where it was exceeded
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%s: the build exceeds Limits.%s (%d): make it smaller, or raise the limit", e.File, e.Limit, e.Max)
}

// Terminal reports that trying again cannot help.
func (e *LimitError) Terminal() bool { return true }

// BuildError is an error of kustomize itself: a patch without a target, two
// objects of the same name, a base in a circle.
type BuildError struct {
	Dir  string // that was to be built
	File string // the last file that kustomize read, which often is the one at fault
	Err  error
}

func (e *BuildError) Error() string {
	msg := fmt.Sprintf("build %s: %v", e.Dir, e.Err)
	if e.File != "" && !strings.Contains(msg, e.File) {
		msg += fmt.Sprintf(" (the last file read was %s)", e.File)
	}
	return msg
}

func (e *BuildError) Unwrap() error { return e.Err }

// Terminal reports that trying again cannot help: a build depends on the tree
// alone.
func (e *BuildError) Terminal() bool { return true }

// plainError keeps the text alone: kustomize's own errors hold whole objects, Secrets
// among them.
func plainError(err error) error { return errors.New(clip.Text(readable(err.Error()), maxMessage)) }

// maxMessage bounds what kustomize says.
const maxMessage = 4 << 10

// readable turns kustomize's account of all that it tried into what went wrong,
// and takes out where the tree is mounted for it.
func readable(msg string) string {
	msg = strings.NewReplacer(mount+"/", "", mount, ".").Replace(msg)
	for _, dump := range dumps {
		msg = dump.text.ReplaceAllString(msg, dump.short)
	}
	msg = triedFile.ReplaceAllString(msg, "")
	msg = triedDir.ReplaceAllString(msg, "$1")
	return strings.ReplaceAll(msg, "recursed accumulation of path ", "in ")
}

// kustomize prints whole objects, and the configuration of transformers with whole
// patches.
var dumps = []struct {
	text  *regexp.Regexp
	short string
}{
	{regexp.MustCompile(`(?s)\s*\*\*\*\* Too many possible referral targets to referrer:\n.*$`), ""},
	{regexp.MustCompile(`(?s)produces ID conflict: .*$`), "brings objects of the same kind and name into the same namespace"},
	{regexp.MustCompile("(?s) with config: `.*?\n`"), ""},
}

// kustomize reads each resource as a file, and then, if that fails for whatever
// reason, as a directory. Its messages have both.
var (
	triedFile = regexp.MustCompile(`accumulating resources: accumulation err='accumulating resources from '[^']*': \S+ is a directory': `)
	triedDir  = regexp.MustCompile(`(?s)accumulating resources: accumulation err='(?:accumulating resources from )?(.*)': must build at directory: .*$`)
)

func place(file, field string) string {
	if field == "" {
		return file
	}
	return file + ": " + field
}

// quote keeps a long value, such as an inline patch, from filling the message.
func quote(s string) string {
	const most = 200
	if len(s) > most {
		s = s[:most] + "…"
	}
	return fmt.Sprintf("%q", s)
}

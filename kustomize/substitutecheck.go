package kustomize

import (
	"strings"

	"github.com/fluxcd/pkg/envsubst/parse"
)

// SubstituteLimits bound what [Substitute] does for one object. A field that is
// zero or less means its default.
type SubstituteLimits struct {
	// Bytes bounds an object as YAML, before and after. What can come out is
	// estimated from above before anything is replaced. Default 16 MiB.
	Bytes int64
	// Dollars bounds the dollar signs of an object: the time for them grows with
	// their square. Default 10,000.
	Dollars int
	// Steps bounds the work of looking for words in values, about the length of the
	// word times the square of the length of the value. Default 500 million, which
	// takes a second or two.
	Steps int64
}

func (l SubstituteLimits) withDefaults() SubstituteLimits {
	return SubstituteLimits{
		Bytes:   or(l.Bytes, 16<<20),
		Dollars: or(l.Dollars, 10_000),
		Steps:   or(l.Steps, 500_000_000),
	}
}

// check refuses expressions that mean something else than they say, and bounds
// what evaluating them will cost, before that is begun.
func (s *substitution) check(object, text string) error {
	if int64(len(text)) > s.lim.Bytes {
		return &LimitError{Limit: "Bytes", Max: s.lim.Bytes, File: object}
	}
	if strings.Count(text, "$") > s.lim.Dollars {
		return &LimitError{Limit: "Dollars", Max: int64(s.lim.Dollars), File: object}
	}
	tree, err := parse.Parse(text)
	if err != nil {
		return &VariableError{Object: object, Reason: "an expression is not well-formed (" + err.Error() + "): a dollar sign that begins none is written as $$"}
	}
	e := estimate{vars: s.vars}
	size := e.of(tree.Root)
	switch {
	case e.refused != nil:
		return &VariableError{Object: object, Variable: e.refused.Param, Reason: "${name" + e.refused.Name + "…} is not part of the dialect: tools that take it do something else than Bash does"}
	case size > s.lim.Bytes:
		return &LimitError{Limit: "Bytes", Max: s.lim.Bytes, File: object}
	case e.steps > s.lim.Steps:
		return &LimitError{Limit: "Steps", Max: s.lim.Steps, File: object}
	}
	return nil
}

// estimate bounds the cost of expressions from above.
type estimate struct {
	vars    map[string]string
	steps   int64
	refused *parse.FuncNode
}

// most keeps sums and products of estimates from overflowing.
const most = int64(1) << 40

// of returns the most bytes that a node can give.
func (e *estimate) of(n parse.Node) int64 {
	switch n := n.(type) {
	case *parse.TextNode:
		return int64(len(n.Value))
	case *parse.ListNode:
		var sum int64
		for _, child := range n.Nodes {
			sum = min(most, sum+e.of(child))
		}
		return sum
	case *parse.FuncNode:
		return e.function(n)
	}
	return 0
}

func (e *estimate) function(n *parse.FuncNode) int64 {
	value := int64(len(e.vars[n.Param]))
	args := make([]int64, len(n.Args))
	var all int64
	for i, arg := range n.Args {
		args[i] = e.of(arg)
		all = min(most, all+args[i])
	}
	switch n.Name {
	case ":+", ":?", "+", "?":
		if e.refused == nil {
			e.refused = n
		}
	case "#", "##", "%", "%%":
		if len(args) > 0 {
			e.search(value, args[0])
		}
	case "/", "//", "/#", "/%":
		// An empty word is found between any two characters.
		return min(most, value+(value+1)*min(all, most/(value+1)))
	}
	return min(most, max(value, all)+20) // a length has up to twenty digits
}

// search counts looking for a word at all places of a value.
func (e *estimate) search(value, word int64) {
	value, word = min(value, 1<<20), min(word, 1<<20)
	e.steps = min(most, e.steps+value*value*(word+1))
}

package receive

import (
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
)

// maxPieces bounds what split makes of a text.
const maxPieces = 1000

// splitting adds text.split(separator), as CEL's string extension has it, together
// with a bound: the extension's own makes a list as long as the text and is not paid for.
func splitting() cel.EnvOption {
	return cel.Function("split", cel.MemberOverload("string_split_string",
		[]*cel.Type{cel.StringType, cel.StringType}, cel.ListType(cel.StringType),
		cel.BinaryBinding(split)))
}

func split(text, separator ref.Val) ref.Val {
	s, ok := text.(types.String)
	sep, ok2 := separator.(types.String)
	if !ok || !ok2 {
		return types.MaybeNoSuchOverloadErr(text)
	}
	pieces := strings.SplitN(string(s), string(sep), maxPieces+1)
	if len(pieces) > maxPieces {
		return types.NewErr("split makes more than %d pieces", maxPieces)
	}
	return types.NewStringList(types.DefaultTypeAdapter, pieces)
}

// prices tells CEL what split costs: its pieces, and a tenth of the text as for other
// functions that read one.
type prices struct{}

// CallCost returns nil for what CEL has a price for.
func (prices) CallCost(function, _ string, args []ref.Val, result ref.Val) *uint64 {
	if function != "split" || len(args) == 0 {
		return nil
	}
	cost := uint64(1)
	if s, ok := args[0].(types.String); ok {
		cost += uint64(len(s)) / 10
	}
	if list, ok := result.(interface{ Size() ref.Val }); ok {
		if n, ok := list.Size().(types.Int); ok && n > 0 {
			cost += uint64(n)
		}
	}
	return &cost
}

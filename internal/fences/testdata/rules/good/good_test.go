package good

import (
	"os"
	"testing"
)

func TestMayReadTheEnvironment(t *testing.T) { _ = os.Getenv("HOME") }

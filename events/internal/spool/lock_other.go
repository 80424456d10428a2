//go:build !unix || aix || solaris

package spool

import (
	"errors"
	"os"
)

func lock(*os.File) error {
	return errors.New("a spool needs file locks that end with the process, which this system has not")
}

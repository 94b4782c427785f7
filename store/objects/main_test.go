package objects_test

import (
	"fmt"
	"os"
	"testing"

	"meridian/deploy/local"
)

// scratch is where the tests' server keeps its files.
var scratch string

// The server ends with the tests.
func TestMain(m *testing.M) {
	dir, remove, err := local.Scratch("objects")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	scratch = dir
	code := m.Run()
	if gateway != nil {
		if err := gateway.Kill(); err != nil {
			fmt.Println(err)
			code = 1
		}
	}
	remove()
	os.Exit(code)
}

package porttest

import (
	"net"
	"slices"
	"testing"
)

func TestFreeAddressesDifferAndCanBeListenedAt(t *testing.T) {
	found, err := Free(50)
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range found {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	slices.Sort(found)
	if different := slices.Compact(found); len(different) != 50 {
		t.Errorf("50 addresses are %v", different)
	}
}

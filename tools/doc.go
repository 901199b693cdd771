// Package tools pins what builds and checks TrueBond, and tests the files that no
// compiler reads.
package tools

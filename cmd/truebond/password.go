package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

const passwordBytesMax = 1024 // far more than the server takes; it says what is too long

// readPassword reads one line. On a terminal it asks for it twice and hides it.
func readPassword(ctx context.Context, in io.Reader, prompt io.Writer) (string, error) {
	lines := bufio.NewReader(io.LimitReader(in, 2*passwordBytesMax))
	if !isTerminal(in) {
		return interruptible(ctx, func() (string, error) { return passwordLine(lines) })
	}
	terminal := in.(*os.File)
	if err := echo(terminal, false); err != nil {
		return "", fmt.Errorf("hide the password: %w", err)
	}
	defer echo(terminal, true) //nolint:errcheck // nothing is left to do about it
	return interruptible(ctx, func() (string, error) { return passwordTwice(lines, prompt) })
}

func passwordTwice(lines *bufio.Reader, prompt io.Writer) (string, error) {
	var both [2]string
	for i, question := range []string{"Password: ", "Once more: "} {
		fmt.Fprint(prompt, question)
		var err error
		both[i], err = passwordLine(lines)
		fmt.Fprintln(prompt)
		if err != nil {
			return "", err
		}
	}
	if both[0] != both[1] {
		return "", errors.New("the two passwords differ")
	}
	return both[0], nil
}

// passwordLine takes a line as it is, blanks included.
func passwordLine(lines *bufio.Reader) (string, error) {
	line, err := lines.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the password: %w", err)
	}
	password := strings.TrimRight(line, "\r\n")
	switch {
	case password == "":
		return "", errors.New("there is no password on standard input")
	case len(password) > passwordBytesMax:
		return "", fmt.Errorf("the password has more than %d bytes", passwordBytesMax)
	}
	return password, nil
}

// echo says whether a terminal shows what is typed. stty is part of POSIX.
func echo(terminal *os.File, on bool) error {
	mode := "-echo"
	if on {
		mode = "echo"
	}
	stty := exec.Command("stty", mode)
	stty.Stdin = terminal
	return stty.Run()
}

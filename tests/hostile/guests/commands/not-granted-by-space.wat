;; A granted program and a space.
;; grants: commands = ["make"]
;; expect: ends may not use commands `make `
(func (export "step#run") (param i32 i32) (result i32)
  (local $spec i32)
  (call $run (call $argv (text "make ") (text "x"))))

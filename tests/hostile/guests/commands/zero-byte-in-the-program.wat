;; A granted program, a zero byte, and more.
;; grants: commands = ["*"]
;; expect: ends zero byte
(func (export "step#run") (param i32 i32) (result i32)
  (local $spec i32)
  (call $run (call $argv (text "make\00sh") (text "x"))))

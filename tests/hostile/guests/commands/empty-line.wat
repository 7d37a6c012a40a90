;; A line for the shell with nothing but spaces.
;; grants: commands = ["*"]
;; expect: ends expected a command line
(func (export "step#run") (param i32 i32) (result i32)
  (local $spec i32)
  (call $run (call $spec.shell (text "  \09 "))))

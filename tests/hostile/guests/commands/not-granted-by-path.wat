;; A granted program by the path to another of that name.
;; grants: commands = ["make"]
;; expect: ends may not use commands `/tmp/make`
(func (export "step#run") (param i32 i32) (result i32)
  (local $spec i32)
  (call $run (call $argv (text "/tmp/make") (text "x"))))

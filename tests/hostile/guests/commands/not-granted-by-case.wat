;; A granted program in capitals.
;; grants: commands = ["make"]
;; expect: ends may not use commands `MAKE`
(func (export "step#run") (param i32 i32) (result i32)
  (local $spec i32)
  (call $run (call $argv (text "MAKE") (text "x"))))

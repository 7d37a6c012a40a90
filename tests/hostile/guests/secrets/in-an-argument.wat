;; Writes the name of a secret where the worker replaces variables: an argument stays as it is.
;; grants: commands = ["make"]
;; leaves: command make ${TOKEN} in build with {}
;; expect: answers Success
(func (export "step#run") (param i32 i32) (result i32)
  (call $run (call $argv (text "make") (text "${TOKEN}"))))

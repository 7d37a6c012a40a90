;; Grows its memory while a configuration is loaded.
;; kind: change-source
;; call: check
;; expect: ends more than its memory limit of 64 MiB
(func (export "change-source#check") (param i32 i32) (result i32)
  (loop $again (drop (memory.grow (i32.const 16))) (br $again)) unreachable)

;; Writes into its log without end.
;; leaves: into flood
;; expect: ends more than 64 MiB of text in logs
(func (export "step#run") (param i32 i32) (result i32)
  (drop (memory.grow (i32.const 20)))
  (memory.fill (i32.const 131072) (i32.const 10) (i32.const 1000000))
  (loop $again (call $build.write-log (text "flood") (i32.const 131072) (i32.const 1000000)) (br $again)) unreachable)

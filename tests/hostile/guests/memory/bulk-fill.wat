;; Fills its memory over and over with one instruction that runs for long.
;; expect: ends it ran for more than 300 ms
(func (export "step#run") (param i32 i32) (result i32)
  (drop (memory.grow (i32.const 1000)))
  (loop $again (memory.fill (i32.const 65536) (i32.const 255) (i32.const 60000000)) (br $again)) unreachable)

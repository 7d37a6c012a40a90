;; A loop that leaves and enters blocks through a table of branches, so that no single back edge is the loop.
;; kind: scheduler
;; expect: ends it ran for more than 300 ms
(func (export "scheduler#handle") (param i32) (result i32)
  (local $at i32)
  (loop $top
    (local.set $at (i32.add (local.get $at) (i32.const 1)))
    (block $c (block $b (block $a
      (br_table $a $b $c $top (i32.and (local.get $at) (i32.const 3)))) (br $top)) (br $top)) (br $top))
  unreachable)

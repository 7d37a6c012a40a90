;; Does nothing and says so.
;; kind: scheduler
;; expect: answers

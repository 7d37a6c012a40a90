;; Made for a version that does not exist.
;; expect: refused upgrade Capstan
(component (import "capstan:plugin/log@99.0.0" (instance)) )

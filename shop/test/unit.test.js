// The parts of the service and the pages that need no server.

import './unit/lane.js';
import './unit/clock.js';
import './unit/problem.js';
import './unit/pass.js';
import './unit/publish.js';
import './unit/session.js';

//! `vcs.v1.VCSService`: source code from GitHub. No source of code can be configured in this version, and every
//! method says so, so that pages which ask do without.

use crate::error::ApiError;
use crate::wire::vcs::v1::*;
use connectrpc::{ConnectError, RequestContext, ServiceRequest, ServiceResult};

pub(crate) struct SourceCode;

fn not_configured() -> ConnectError {
    ApiError::unimplemented(
        "source code is not configured on this server: there is no connection to GitHub; open the file in the \
         repository itself",
    )
    .into()
}

impl VcsService for SourceCode {
    async fn github_app(
        &self,
        _context: RequestContext,
        _request: ServiceRequest<'_, GithubAppRequest>,
    ) -> ServiceResult<GithubAppResponse> {
        Err(not_configured())
    }

    async fn github_login(
        &self,
        _context: RequestContext,
        _request: ServiceRequest<'_, GithubLoginRequest>,
    ) -> ServiceResult<GithubLoginResponse> {
        Err(not_configured())
    }

    async fn github_refresh(
        &self,
        _context: RequestContext,
        _request: ServiceRequest<'_, GithubRefreshRequest>,
    ) -> ServiceResult<GithubRefreshResponse> {
        Err(not_configured())
    }

    async fn get_file(
        &self,
        _context: RequestContext,
        _request: ServiceRequest<'_, GetFileRequest>,
    ) -> ServiceResult<GetFileResponse> {
        Err(not_configured())
    }

    async fn get_commit(
        &self,
        _context: RequestContext,
        _request: ServiceRequest<'_, GetCommitRequest>,
    ) -> ServiceResult<GetCommitResponse> {
        Err(not_configured())
    }

    async fn get_commits(
        &self,
        _context: RequestContext,
        _request: ServiceRequest<'_, GetCommitsRequest>,
    ) -> ServiceResult<GetCommitsResponse> {
        Err(not_configured())
    }
}
